import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for family_contract.py
pytest.register_assert_rewrite("family_contract")
