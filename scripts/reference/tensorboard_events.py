"""Reference of src/train/run/tensorboard.rs: pip install tensorboard; python tensorboard_events.py

The records that TensorBoard's own writer makes of three events, in tests/golden/events.tfevents."""
import io, os
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "golden")


def event(time, step, values):
    return Event(wall_time=time, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values]))


out = io.BytesIO()
writer = RecordWriter(out)
events = [
    Event(wall_time=1700000000.25, file_version="brain.Event:2"),
    event(1700000001.5, 1, [("epoch_accuracy", 0.5), ("epoch_loss", 1.25), ("epoch_recall/Hirntumor ä", 1e-7)]),
    event(1700000002.75, 300, [("epoch_loss", 3.0)]),
]
for one in events:
    writer.write(one.SerializeToString())
with open(os.path.join(HERE, "events.tfevents"), "wb") as file:
    file.write(out.getvalue())
print(len(out.getvalue()))
