"""Asset graph that evaluates single-cell foundation models as gene regulatory networks."""

import os

# Thread teams of torch that spin while they wait starve each other as soon as anything else wants a core: a run of
# interventions beside two other processes took thirty times as long. Waiting asleep costs a fifth on an idle machine.
# The OpenMP runtime reads this once, when torch is first imported; whoever sets it keeps their choice.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
