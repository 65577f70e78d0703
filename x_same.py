"""My side, on the temporary base: same cases as same_bits."""
import sys, time, threading, pathlib, shutil, json, hashlib, dataclasses
sys.path.insert(0,'tests'); sys.path.insert(0,'.')
from small_mnist import *
from pipeline_lib.config import RunConfig
from pipeline_lib.home import Home
from pipeline_lib.data.source import prepare
from pipeline_lib.data.splits import Split
from pipeline_lib.search.optuna import OptunaEngine
from pipeline_lib.search.engine import SearchRequest
from pipeline_lib.families.family import Family
import importlib.util, re
src=open('benchmarks/same_bits_side.py').read()
CASES=eval('(lambda _OPTUNA,_APT: %s)'%src[src.index('CASES: dict')+len('CASES: dict[str, dict[str, Any]] = '):src.index('\n}\n')+2])({"workers":1,"first_rung":300,"engine":"optuna"},{"workers":1,"first_rung":300,"engine":"autopytorch","trials":1,"ensemble":1})
def main():
    w=pathlib.Path('/tmp/family-same'); shutil.rmtree(w,ignore_errors=True); w.mkdir()
    home=Home(w/'home'); home.root.mkdir()
    source=prepare_small(prepare('mnist',Home(pathlib.Path('.automl-test').absolute())),home)
    bad=0
    for old in pathlib.Path('/tmp/family-oldwork').glob('*/found.json'):
        for name,theirs in json.loads(old.read_text()).items():
            c=RunConfig(seed=3,**CASES[name])
            split=Split(source,c.seed,c.validation_share)
            r=SearchRequest(name,split,c.space,time.monotonic()+4*3600,c.budget_seconds,c.trials,1,3,w/name,first_rung=300,families=tuple(Family.find(f) for f in c.families))
            e=OptunaEngine(c.sampler); e.prepare(print)
            e.search(r,lambda t:None,threading.Event())
            mine=[]
            for t in e.trials(name,w/name):
                wf=t.model/'weights.safetensors' if t.model else None
                mine.append(dict(label=t.label,stage=t.stage,state=str(t.state),configuration=dict(t.configuration),rungs=[[x.samples,x.value] for x in t.rungs],parameters=t.parameters,final=t.notes.get('final'),weights=hashlib.sha256(wf.read_bytes()).hexdigest() if wf else None))
            th=[t for t in theirs['trials'] if not t['label'].startswith('ensemble')]
            print(name, mine==th, len(mine),len(th),flush=True)
            if mine!=th:
                for a,b in zip(th,mine):
                    if a!=b: print(a,'\n',b); break
if __name__=='__main__': main()
