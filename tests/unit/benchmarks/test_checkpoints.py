"""One wrong model among four steps: checkpoints keep its mistakes from becoming actions."""

from __future__ import annotations

from checkpoints import cascade


def test_few_of_a_models_mistakes_reach_an_action_behind_checkpoints() -> None:
    figures = cascade(10_000)
    assert figures["wrong_actions_none"] > 2_000, "without checkpoints the mistake goes through"
    for where in ("plan", "steps"):
        assert figures[f"wrong_actions_{where}"] <= 0.05 * figures["wrong_actions_none"]
        assert figures[f"right_actions_{where}"] >= 0.9 * figures["right_actions_none"]
