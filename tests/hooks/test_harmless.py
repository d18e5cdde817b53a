from mmptq.hooks import harmless as module
from mmptq.hooks.harmless import harmless


class Hook:
    def __init__(self):
        self.failed, self.done = False, []

    @harmless("no tea")
    def step(self, runner, value):
        """Brew."""
        self.done.append(1 / value)


def test_what_works_is_passed_through():
    hook = Hook()
    hook.step(None, 2)
    hook.step(None, value=4)
    assert hook.done == [0.5, 0.25] and not hook.failed
    assert Hook.step.__doc__ == "Brew."


def test_only_the_first_failure_is_told(monkeypatch):
    said = []
    monkeypatch.setattr(module, "print_log", lambda text, **_: said.append(text))
    hook = Hook()
    hook.step(None, 0)
    hook.step(None, 0)
    hook.step(None, 1)
    assert said == ["no tea: ZeroDivisionError: division by zero"] and hook.done == [1.0]
