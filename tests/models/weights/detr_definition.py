"""Deformable DETR by its definition, on tensors by the names of its authors' code, for one image without padding.

From the formulas of Zhu et al., 2021: equation 3 for the sampling, appendices A.1 to A.4 for references, boxes that are
refined and two stages; the embedding and the layers around it are those of Carion et al., 2020, appendix A.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
HEADS, POINTS = 4, 4


def shapes_of(channels: tuple[int, ...], classes: int, form: str, width: int, hidden: int, queries: int) -> State:
    """Names and shapes of a file with 2 + 2 layers; values are random."""
    levels, generator = len(channels) + 1, torch.Generator().manual_seed(5)
    shapes: dict[str, tuple[int, ...]] = {"transformer.level_embed": (levels, width)}

    def layer(name: str, outputs: int, inputs: int, *kernel: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (outputs, inputs, *kernel), (outputs,)

    def norm(name: str, size: int = width) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (size,)

    def sampling(name: str) -> None:
        count = HEADS * levels * POINTS
        layer(f"{name}.sampling_offsets", 2 * count, width)
        layer(f"{name}.attention_weights", count, width)
        layer(f"{name}.value_proj", width, width)
        layer(f"{name}.output_proj", width, width)

    for level, inputs in enumerate((*channels, channels[-1])):
        layer(f"input_proj.{level}.0", width, inputs, *((1, 1) if level < len(channels) else (3, 3)))
        norm(f"input_proj.{level}.1")
    for part, norms in (("encoder", 2), ("decoder", 3)):
        for number in range(2):
            name = f"transformer.{part}.layers.{number}"
            sampling(f"{name}.{'self_attn' if part == 'encoder' else 'cross_attn'}")
            if part == "decoder":
                shapes[f"{name}.self_attn.in_proj_weight"] = (3 * width, width)
                shapes[f"{name}.self_attn.in_proj_bias"] = (3 * width,)
                layer(f"{name}.self_attn.out_proj", width, width)
            for index in range(norms):
                norm(f"{name}.norm{index + 1}")
            layer(f"{name}.linear1", hidden, width)
            layer(f"{name}.linear2", width, hidden)
    if form == "two_stage":
        layer("transformer.enc_output", width, width)
        norm("transformer.enc_output_norm")
        layer("transformer.pos_trans", 2 * width, 2 * width)
        norm("transformer.pos_trans_norm", 2 * width)
    else:
        shapes["query_embed.weight"] = (queries, 2 * width)
        layer("transformer.reference_points", 2, width)
    heads = 3 if form == "two_stage" else 2
    for number in range(heads):
        layer(f"class_embed.{number}", classes, width)
        for index, outputs in enumerate((width, width, 4)):
            layer(f"bbox_embed.{number}.layers.{index}", outputs, width)
    tensors = {key: torch.randn(shape, generator=generator) * 0.2 for key, shape in shapes.items()}
    for key in tensors:  # norms around 1; one class and box layer for all decoder layers where boxes are not refined
        if "norm" in key and key.endswith("weight"):
            tensors[key] += 1
        if form == "plain" and key.split(".")[0] in ("class_embed", "bbox_embed"):
            tensors[key] = tensors[key.replace("embed.1.", "embed.0.")]
    copies = {"refined": ("bbox_embed",), "two_stage": ("bbox_embed", "class_embed")}.get(form, ())
    return tensors | {f"transformer.decoder.{key}": tensors[key] for key in shapes if key.startswith(copies or ("-",))}


def linear(x: Tensor, t: State, name: str) -> Tensor:
    return functional.linear(x, t[f"{name}.weight"], t[f"{name}.bias"])


def normed(x: Tensor, t: State, name: str) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])


def feed_forward(x: Tensor, t: State, name: str, norm: str) -> Tensor:
    return normed(x + linear(linear(x, t, f"{name}.linear1").relu(), t, f"{name}.linear2"), t, f"{name}.{norm}")


def embedded(place: Tensor, width: int) -> Tensor:
    """Sines at even, cosines at odd places; both of a pair have one frequency, 10000 ** (-2 i / width) of 2 pi."""
    columns = [
        (math.sin, math.cos)[index % 2](2 * math.pi * x / 10000 ** (2 * (index // 2) / width))
        for x in place.tolist()
        for index in range(width)
    ]
    return torch.tensor(columns).reshape(len(place), width)


def logit(x: Tensor) -> Tensor:
    x = x.clamp(0, 1)
    return (x.clamp(min=1e-5) / (1 - x).clamp(min=1e-5)).log()


def deformable(
    query: Tensor, reference: Tensor, memory: Tensor, sizes: list[tuple[int, int]], t: State, name: str
) -> Tensor:
    """Equation 3: for every head the sum over levels and points of weight times value at reference + offset."""
    count, levels = len(query), len(sizes)
    values = linear(memory, t, f"{name}.value_proj").reshape(len(memory), HEADS, -1)
    offsets = linear(query, t, f"{name}.sampling_offsets").reshape(count, HEADS, levels, POINTS, 2)
    weights = linear(query, t, f"{name}.attention_weights").reshape(count, HEADS, -1).softmax(-1)
    weights = weights.reshape(count, HEADS, levels, POINTS)
    total = torch.zeros(count, HEADS, values.shape[-1])
    first = 0
    for level, (height, width) in enumerate(sizes):
        if reference.shape[-1] == 2:  # offsets in pixels of the level
            moved = offsets[:, :, level] / torch.tensor([width, height])
        else:  # in halves of the box, shared out among the points
            moved = offsets[:, :, level] / POINTS * reference[:, None, None, 2:] * 0.5
        places = reference[:, None, None, :2] + moved
        for head in range(HEADS):
            image = values[first : first + height * width, head].T.reshape(1, -1, height, width)
            found = functional.grid_sample(image, 2 * places[None, :, head] - 1, align_corners=False)[0]
            total[:, head] += (found * weights[:, head, level]).sum(-1).T
        first += height * width
    return linear(total.flatten(1), t, f"{name}.output_proj")


def attention(x: Tensor, positions: Tensor, t: State, name: str) -> Tensor:
    width = x.shape[1]
    weight, bias = t[f"{name}.in_proj_weight"].split(width), t[f"{name}.in_proj_bias"].split(width)
    inputs = (x + positions, x + positions, x)
    query, key, value = (
        functional.linear(rows, w, b).reshape(len(x), HEADS, -1).transpose(0, 1)
        for rows, w, b in zip(inputs, weight, bias, strict=True)
    )
    shares = (query @ key.transpose(1, 2) / math.sqrt(width // HEADS)).softmax(-1)
    return linear((shares @ value).transpose(0, 1).reshape(len(x), width), t, f"{name}.out_proj")


def encoded(maps: list[Tensor], t: State, groups: int) -> tuple[Tensor, Tensor, Tensor, list[tuple[int, int]]]:
    """The encoder's tokens, their centres as shares of the image, the levels they are of, and those levels' sizes."""
    tokens, positions, centres, level_of, sizes = [], [], [], [], []
    for level, features in enumerate([*maps, maps[-1]]):
        options = {"stride": 2, "padding": 1} if level == len(maps) else {}
        name = f"input_proj.{level}"
        x = functional.conv2d(features, t[f"{name}.0.weight"], t[f"{name}.0.bias"], **options)
        x = functional.group_norm(x, groups, t[f"{name}.1.weight"], t[f"{name}.1.bias"])[0]
        width, (height, columns) = len(x), x.shape[1:]
        y = (torch.arange(height) + 0.5).repeat_interleave(columns) / height
        across = (torch.arange(columns) + 0.5).repeat(height) / columns
        tokens.append(x.flatten(1).T)
        centres.append(torch.stack([across, y], dim=1))
        place = torch.cat([embedded(y, width // 2), embedded(across, width // 2)], dim=1)
        positions.append(place + t["transformer.level_embed"][level])
        level_of.append(torch.full((height * columns,), level))
        sizes.append((height, columns))
    x, position, centre = torch.cat(tokens), torch.cat(positions), torch.cat(centres)
    for number in range(2):
        name = f"transformer.encoder.layers.{number}"
        x = normed(x + deformable(x + position, centre, x, sizes, t, f"{name}.self_attn"), t, f"{name}.norm1")
        x = feed_forward(x, t, name, "norm2")
    return x, centre, torch.cat(level_of), sizes


def box_layers(x: Tensor, t: State, number: int) -> Tensor:
    for index in range(2):
        x = linear(x, t, f"bbox_embed.{number}.layers.{index}").relu()
    return linear(x, t, f"bbox_embed.{number}.layers.2")


def detected(maps: list[Tensor], t: State, form: str, queries: int, groups: int) -> tuple[Tensor, Tensor]:
    """Class logits (layers, queries, classes) and boxes (layers, queries, 4): centre and sides, shares of the image."""
    memory, centre, level_of, sizes = encoded(maps, t, groups)
    width = memory.shape[1]
    if form == "two_stage":
        sides = (0.05 * 2.0**level_of)[:, None].expand(-1, 2)
        proposals = torch.cat([centre, sides], dim=1)
        good = ((proposals > 0.01) & (proposals < 0.99)).all(1, keepdim=True)
        start = torch.where(good, (proposals / (1 - proposals)).log(), torch.inf)
        x = normed(linear(memory * good, t, "transformer.enc_output"), t, "transformer.enc_output_norm")
        best = linear(x, t, "class_embed.2")[:, 0].topk(queries).indices
        reference = (box_layers(x, t, 2) + start)[best].sigmoid()
        place = torch.cat([embedded(column, width // 2) for column in reference.T], dim=1)
        learnt = normed(linear(place, t, "transformer.pos_trans"), t, "transformer.pos_trans_norm")
    else:
        learnt = t["query_embed.weight"]
        reference = linear(learnt[:, :width], t, "transformer.reference_points").sigmoid()
    position, x = learnt.split(width, dim=1)
    logits, boxes = [], []
    for number in range(2):
        name = f"transformer.decoder.layers.{number}"
        x = normed(x + attention(x, position, t, f"{name}.self_attn"), t, f"{name}.norm2")
        x = normed(x + deformable(x + position, reference, memory, sizes, t, f"{name}.cross_attn"), t, f"{name}.norm1")
        x = feed_forward(x, t, name, "norm3")
        moved = box_layers(x, t, number)
        moved[:, : reference.shape[1]] += logit(reference)
        logits.append(linear(x, t, f"class_embed.{number}"))
        boxes.append(moved.sigmoid())
        if form != "plain":
            reference = boxes[-1]
    return torch.stack(logits), torch.stack(boxes)
