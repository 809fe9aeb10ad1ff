"""What a function may return, with plain values: of numbers one that meets the trigger's condition. Pure."""

from typing import Any

from b3os.abi.codec import decode, encode
from b3os.detect.sample_logs import MAX_VALUES, count_values, sample_value
from b3os.detect.thresholds import StateWatch
from b3os.errors import BadInput


def sample_outputs(watch: StateWatch) -> dict[str, Any]:
    """Make the outputs; raises BadInput for a function that returns more values than a sample has."""
    types = [output.type for output in watch.outputs]
    if sum(map(count_values, types)) > MAX_VALUES:
        raise BadInput(f"a sample would have more than {MAX_VALUES} values: it has none", code=400389)
    values = decode(types, encode(types, [sample_value(kind) for kind in types]))
    outputs = {output.name: value for output, value in zip(watch.outputs, values, strict=True)}
    if watch.path in outputs and isinstance(watch.bound, int):
        nearby = (str(watch.bound + step) for step in (0, 1, -1))
        fitting = (value for value in nearby if watch.holds.holds({watch.path: value}))
        outputs[watch.path] = next(fitting, outputs[watch.path])
    return outputs
