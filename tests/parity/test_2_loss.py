import pytest
from conftest import Answers

from parity.cases import Case, loss_question
from parity.compare import compare
from parity.question import Network, Side
from parity.sides.reference_side import answer as reference_answer
from parity.tolerances import FLOAT64_BOUND


def test_loss_of_a_batch_agrees(case: Case, answers: Answers) -> None:
    ours, theirs = answers(case.name, "float64")
    [difference] = compare({"loss": ours["loss"]}, {"loss": theirs["loss"]})
    assert difference.relative <= FLOAT64_BOUND, difference


@pytest.mark.parametrize(
    "network",
    [Network(5, 3), Network(5, 1), Network(5, 3, answer="labels")],
    ids=["three classes", "binary", "three labels"],
)
def test_losses_agree_also_where_keras_clips_probabilities(
    network: Network, ours: Side, theirs: Side
) -> None:
    question = loss_question(network)
    their_answer = theirs(question)
    for answer in (ours(question), reference_answer(question)):
        for difference in compare(answer, their_answer):
            assert difference.relative <= FLOAT64_BOUND, difference
    # 40 nats for a logit of 40, but never more than -log(1e-7) = 16.1 once clipped
    assert their_answer["loss.logits"] > their_answer["loss.probabilities"]
    assert not their_answer["slope.probabilities"][1].any()
