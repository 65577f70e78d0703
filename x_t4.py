import sys, time, threading, pathlib, shutil, json, hashlib
sys.path.insert(0,'tests')
from small_mnist import *
from pipeline_lib.home import Home
from pipeline_lib.data.source import prepare
from pipeline_lib.data.splits import Split
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.families.family import Family
def main():
    w=pathlib.Path('/tmp/family-x'); shutil.rmtree(w,ignore_errors=True); w.mkdir()
    home=Home(w/'home'); home.root.mkdir()
    src=prepare_small(prepare('mnist',Home(pathlib.Path('.automl-test').absolute())),home)
    split=Split(src,3 if False else 0,0.1)
    fams=tuple(Family.find(a).kept(home) for a in sys.argv[3:])
    r=SearchRequest('s',split,'default',time.monotonic()+4*3600,float(sys.argv[1]),int(sys.argv[2]),1,3,w/'study',first_rung=300,families=fams)
    e=OptunaEngine()
    e.prepare(print)
    t=time.time()
    e.search(r,lambda t:None,threading.Event())
    for t_ in e.trials('s',w/'study'):
        print(t_.label,t_.family,t_.stage,t_.state,[(x.samples,round(x.value,4)) for x in t_.rungs],t_.parameters,t_.multiply_adds,t_.notes.get('final'),t_.reason)
    print(time.time()-t, 'torch' in sys.modules)
if __name__=='__main__': main()
