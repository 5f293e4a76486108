"""How large a calibration world is, and with which settings it is judged.

What belongs here: sizes, resamples and the recipe's knobs of one world. What does not: what is scored in it
(`catalogue`) and how many seeds are drawn (`run`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from interp_assets.battery_settings import BatterySettings
from interp_assets.cells.planted_params import PlantedParams

USUAL_OFF_NETWORK: Final = 0.02


def _small_battery() -> BatterySettings:
    """Resamples of `demo` where they decide an outcome; smaller boosting and one fold seed, which cost most."""
    return BatterySettings(
        boosting=MappingProxyType({"iterations": 20, "learning_rate": 0.2, "leaves": 8}),
        power_simulations=1,
        label_shuffles=200,
        residual_seeds=1,
        residual_boosting_seeds=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """Sizes of the worlds of one calibration, and the settings of the analyses that judge them.

    ``detection`` is the share of cells that must hold a count of a gene for it to take part at all.
    ``cell_share`` of the cells of every type is drawn anew for each seed; a half lets gene statistics differ between
    seeds by what the whole data set would differ by if it were sampled again.
    """

    name: str = "small"
    perturbations: int = 40
    genes: int = 400
    cells_per_perturbation: int = 60
    edges_per_regulator: float = 16.0
    detection: float = 0.05
    cell_share: float = 0.5
    battery: BatterySettings = field(default_factory=_small_battery)

    def params(self, seed: int, off_network: float = USUAL_OFF_NETWORK) -> PlantedParams:
        """Knobs of the planted screen of one seed; ``off_network`` of the planted effects follow no edge."""
        return PlantedParams(
            seed=seed,
            network_seed=seed,
            n_perturbations=self.perturbations,
            n_genes=self.genes,
            cells_per_perturbation=self.cells_per_perturbation,
            edges_per_regulator=self.edges_per_regulator,
            generic_share=off_network,
        )

    def portable(self) -> Design:
        """The same design with plain dictionaries, which can travel to another process."""
        battery = {item.name: getattr(self.battery, item.name) for item in dataclasses.fields(self.battery)}
        plain = {name: dict(value) for name, value in battery.items() if isinstance(value, Mapping)}
        return dataclasses.replace(self, battery=dataclasses.replace(self.battery, **plain))

    def as_mapping(self) -> dict[str, Any]:
        """Plain mapping of every size and setting."""
        plain = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {**plain, "battery": self.battery.as_mapping()}


SMALL: Final = Design()
# A fifth of the cost: what a test can afford. Its rates are those of a coarser assay.
TINY: Final = Design(
    name="tiny",
    perturbations=24,
    genes=240,
    cells_per_perturbation=40,
    edges_per_regulator=12.0,
    battery=BatterySettings(
        bootstrap=40,
        boosting=MappingProxyType({"iterations": 10, "learning_rate": 0.3, "leaves": 6}),
        power_simulations=1,
        label_shuffles=100,
        curveball_networks=40,
        residual_seeds=1,
        residual_boosting_seeds=1,
    ),
)
DESIGNS: Final[Mapping[str, Design]] = MappingProxyType({design.name: design for design in (SMALL, TINY)})
