"""Causes of a wrong gradient that are recognized: what is said of each, and what to change."""

from __future__ import annotations

from typing import NamedTuple

from metabench.records.number_format import number
from metabench.records.rows import Row, Rows, from_table

MOST_CAUSES_NAMED = 3


class Cause(NamedTuple):
    """The claim and repair; {at}, {value} and {layer} are those of the row."""

    claim: str
    repair: str


def cause_of(table: Rows) -> Cause | None:
    """Return what is said of the recognized causes; None if there are none."""
    rows = from_table(table, "cause", of=None, layer=None)
    if not rows:
        return None
    named = [_filled(row) for row in rows]
    claims = " ".join(each.claim for each in named[:MOST_CAUSES_NAMED])
    return Cause(claims, named[0].repair)


def _filled(row: Row) -> Cause:
    cause = CAUSES[row.of]
    words = {
        "at": number(row.at or 0),
        "value": number(row.value or 0),
        "low": number(row.low or 0),
        "high": number(row.high or 0),
        "layer": row.layer,
    }
    return Cause(cause.claim.format(**words), cause.repair)


SECOND = (
    "Look for detach(), .data, torch.no_grad() or a missing create_graph=True in the inner loop, "
    "or for a slip in a hand-written Hessian-vector product."
)
DATA = "Use the same data in the gradient as in the loss."
CAUSES = {
    "exchanged": Cause(
        "It is the gradient of the loss with support and query set exchanged.",
        "Adapt on the support set and evaluate on the query set where the gradient is computed.",
    ),
    "support twice": Cause(
        "It is the gradient of the loss on the support set after adaptation to it: the query set "
        "is not used.",
        DATA,
    ),
    "query twice": Cause(
        "It is the gradient of the loss after adaptation to the query set.",
        DATA,
    ),
    "other task": Cause(
        "It is the gradient of another task's loss.",
        "Look for an index, or a variable kept from the task before.",
    ),
    "other support": Cause(
        "It is the gradient of the loss after adaptation to another task's support set.",
        "Look for an index, or a variable kept from the task before.",
    ),
    "other query": Cause(
        "It is the gradient of the loss on another task's query set.",
        "Look for an index, or a variable kept from the task before.",
    ),
    "query example": Cause("It is the gradient of the loss without the last query example.", DATA),
    "support example": Cause(
        "It is the gradient of the loss without the last support example.", DATA
    ),
    "unadapted": Cause(
        "It is the gradient of the query loss at phi_0, without adaptation.",
        "Differentiate the query loss at the adapted parameters.",
    ),
    "unadapted support": Cause(
        "It is the gradient of the support loss at phi_0, without adaptation.",
        "Differentiate the query loss at the adapted parameters.",
    ),
    "penalty": Cause(
        "It differs from the gradient of the loss by {value} theta: a penalty or weight decay that "
        "one of them has and the other has not, or that is counted twice.",
        "Take the penalty into both the loss and the gradient, once.",
    ),
    "multiple by task": Cause(
        "Each task's is a multiple of the gradient of its loss, by {low} to {high}: it is clipped "
        "or normalized.",
        "Report the gradient before it is clipped or normalized; clip in the outer loop.",
    ),
    "equal norms": Cause(
        "Its norm is {value} on every task: it is clipped or normalized.",
        "Report the gradient before it is clipped or normalized; clip in the outer loop.",
    ),
    "equal entries": Cause(
        "In every task, two or more entries have the largest size exactly: it is clipped by value.",
        "Report the gradient before it is clipped; clip in the outer loop.",
    ),
    "exchanged layers": Cause(
        "It is the gradient of the loss with the parts of layers `{layer}` exchanged.",
        "Return the gradient by name, or in the order of theta.",
    ),
    "transposed": Cause(
        "It is the gradient of the loss with the part of layer `{layer}` transposed.",
        "Return each layer's part in the shape of the parameter.",
    ),
    "bfloat16": Cause(
        "Every entry is a bfloat16 number: it was computed or stored in half precision.",
        "Look for .bfloat16() and autocast; keep gradients in float32.",
    ),
    "float16": Cause(
        "Every entry is a float16 number: it was computed or stored in half precision.",
        "Look for .half() and autocast; keep gradients in float32.",
    ),
    "first order": Cause(
        "It is the first-order gradient (FOMAML): every second-order term is missing.", SECOND
    ),
    "step": Cause(
        "The second-order term of inner step {at} has the factor {value} in place of 1.",
        SECOND,
    ),
    "layer": Cause(
        "The second-order terms of layer `{layer}` have the factor {value} in place of 1.",
        SECOND,
    ),
    "all layers": Cause(
        "All second-order terms have the factor {value} in place of 1.",
        "Check the sign and the factors of the Hessian-vector products.",
    ),
    "query Hessian": Cause(
        "Its second-order terms are those of the query loss, not of the support loss.", DATA
    ),
    "first Hessian": Cause(
        "Its second-order terms take every inner step's Hessian at phi_0.",
        "Take the Hessian of each inner step at the parameters before that step.",
    ),
    "order": Cause(
        "Its second-order terms are taken from the first inner step to the last.",
        "Go back from the last inner step to the first.",
    ),
    "steps": Cause(
        "It is the gradient after {at} inner steps; the loss is taken after {value}.",
        "Take as many inner steps in the gradient as in the loss.",
    ),
    "rate": Cause(
        "It is the gradient at {value} times the inner rate of the loss.",
        "Use one inner rate; look for a loss that is summed in one place and averaged in another.",
    ),
    "all steps": Cause(
        "It is the gradient of the mean of the losses after all inner steps, not of the last one.",
        "Differentiate the loss after the last inner step, or report the mean of all.",
    ),
    "second order": Cause(
        "Neither a detached path nor another number of inner steps explains it, and the loss is "
        "that of the algorithm: its second-order terms are wrong in another way.",
        "Compare the Hessian-vector product of one inner step with torch.func.jvp of the gradient.",
    ),
}
