--- Prompt: find out what is done, archive it, and write the next task.
return [[
# Continue the task

Work has been done in this worktree. Find out how far it really got, put the old task away, and write the one that
comes next.

## Inputs

- `MAIN_TASK.md`: what was asked for.
- The history since the branch began, the working tree, and the tests.
- Further wishes of the person who started you: $ARGUMENTS

## Not negotiable

- Believe the code and the tests, not what a summary says about them.
- Change no code in this step. You take stock and you write.
- Nothing that was asked for gets lost between the old task and the new one.

## How to go about it

1. Split `MAIN_TASK.md` into single demands and number them.
2. For each one look for the evidence: the code that does it, the test that holds it. Run the tests (`envctl test`).
3. Mark each one: done, partly done (what is missing?), not begun, or no longer wanted (who said so?).
4. Look for what nobody asked for but the work brought to light: fragile places, doubled code, missing tests.
5. Move `MAIN_TASK.md` to `docs/tasks/` under a name with date and subject.
6. Write a new `MAIN_TASK.md` with what is left, in an order in which it can be done, each demand so that one can
   check it.

## What to hand over

- The archived task with your findings below it.
- The new `MAIN_TASK.md`, complete in itself: whoever reads it needs nothing else.

## Final answer

1. Counts: done, partly, not begun.
2. The three most important things that are left.
3. Where the archived task lies.

## Before you stop

- Can every "done" be shown by a command or a test?
- Is every "partly" and "not begun" in the new task?
]]
