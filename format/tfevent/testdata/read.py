"""Prints as JSON what the package tensorboard finds in a folder of event files: by its
EventAccumulator, and by the data providers that its plugins are served from.

    python read.py FOLDER
"""
import json
import logging
import sys

logging.disable(logging.WARNING)
from tensorboard import context
from tensorboard.backend.event_processing import data_provider, event_accumulator, plugin_event_multiplexer
from tensorboard.data import provider as base
from tensorboard.plugins.graph import metadata as graph_metadata
from tensorboard.plugins.histogram import metadata as histogram_metadata
from tensorboard.plugins.hparams import backend_context, metadata as hparams_metadata
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.pr_curve import metadata as pr_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util

folder = sys.argv[1]
out = {}

acc = event_accumulator.EventAccumulator(folder, size_guidance={k: 0 for k in event_accumulator.DEFAULT_SIZE_GUIDANCE})
acc.Reload()
out["tags"] = {k: sorted(v) if isinstance(v, list) else v for k, v in acc.Tags().items()}
out["scalars"] = {t: [[e.step, e.wall_time, e.value] for e in acc.Scalars(t)] for t in acc.Tags()["scalars"]}
out["histograms"] = {
    t: [[e.step, h.min, h.max, h.num, h.sum, h.sum_squares, list(h.bucket_limit), list(h.bucket)] for e in acc.Histograms(t) for h in [e.histogram_value]]
    for t in acc.Tags()["histograms"]
}
out["images"] = {t: [[e.step, e.width, e.height, e.encoded_image_string.hex()] for e in acc.Images(t)] for t in acc.Tags()["images"]}
if acc.Tags()["graph"]:
    out["graph"] = [
        {"name": n.name, "op": n.op, "inputs": list(n.input), "shape": [d.size for d in n.attr["_output_shapes"].list.shape[0].dim],
         "attrs": {k: v.s.decode() for k, v in n.attr.items() if k != "_output_shapes"}}
        for n in acc.Graph().node
    ]

mux = plugin_event_multiplexer.EventMultiplexer(size_guidance={k: 0 for k in event_accumulator.DEFAULT_SIZE_GUIDANCE}, tensor_size_guidance={p: 10000 for p in ("scalars", "histograms", "images", "text", "pr_curves", "hparams")})
mux.AddRun(folder, "run")
mux.Reload()
dp = data_provider.MultiplexerDataProvider(mux, folder)
ctx = context.RequestContext()
pick = base.RunTagFilter(runs=["run"])
many = 1 << 20


def read(f, plugin):
    return f(ctx, experiment_id="", plugin_name=plugin, downsample=many, run_tag_filter=pick).get("run", {})


out["provider"] = {
    "scalars": {t: [[d.step, d.value] for d in v] for t, v in read(dp.read_scalars, scalar_metadata.PLUGIN_NAME).items()},
    "histograms": {t: [[d.step, d.numpy.tolist()] for d in v] for t, v in read(dp.read_tensors, histogram_metadata.PLUGIN_NAME).items()},
    "text": {t: [[d.step, [x.decode() for x in d.numpy.flatten()]] for d in v] for t, v in read(dp.read_tensors, text_metadata.PLUGIN_NAME).items()},
    "pr_curves": {t: [[d.step, d.numpy.tolist()] for d in v] for t, v in read(dp.read_tensors, pr_metadata.PLUGIN_NAME).items()},
    "images": {
        t: [[d.step, [dp.read_blob(ctx, blob_key=r.blob_key).hex() for r in d.values]] for d in v]
        for t, v in read(dp.read_blob_sequences, image_metadata.PLUGIN_NAME).items()
    },
    "graphs": sorted(dp.list_blob_sequences(ctx, experiment_id="", plugin_name=graph_metadata.PLUGIN_NAME).get("run", {})),
}
c = backend_context.Context(type("TB", (), {"data_provider": dp, "logdir": folder, "window_title": "", "flags": None, "plugin_name_to_instance": {}, "assets_zip_provider": None, "multiplexer": mux})())
md = c.hparams_metadata(ctx, "")
hp = {}
for tag, content in md.get("run", {}).items():
    data = content.plugin_content if hasattr(content, "plugin_content") else content
    if tag == hparams_metadata.SESSION_START_INFO_TAG:
        start = hparams_metadata.parse_session_start_info_plugin_data(data)
        hp["hparams"] = {k: getattr(v, v.WhichOneof("kind")) for k, v in start.hparams.items()}
    if tag == hparams_metadata.SESSION_END_INFO_TAG:
        hp["status"] = hparams_metadata.parse_session_end_info_plugin_data(data).status
    if tag == hparams_metadata.EXPERIMENT_TAG:
        e = hparams_metadata.parse_experiment_plugin_data(data)
        hp["types"] = {i.name: i.type for i in e.hparam_infos}
        hp["metrics"] = [m.name.tag for m in e.metric_infos]
out["hparams"] = hp
json.dump(out, sys.stdout)
