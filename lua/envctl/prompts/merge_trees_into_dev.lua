--- Prompt: reconcile two branches into dev.
return [[
# Merge two lines of work into dev

Two worktrees hold work that belongs together, or that answers the same task twice. Bring the best of both into `dev`.

## Inputs

- The two branches, and anything else you are told: $ARGUMENTS
- `MAIN_TASK.md` of both worktrees.
- The branch `dev`.

## Not negotiable

- Nothing is lost: whatever you leave out is named, with the reason.
- The two branches themselves stay untouched. You work on a new branch that begins at `dev`.
- No force push, no rewriting of what others have.

## How to go about it

1. Find where the two branches part: `git merge-base A B`. Read both differences from there.
2. Put side by side what each does: demands met, tests, structure, risks. Decide per part which one to take, and why.
3. Make a branch from `dev`. Merge the stronger branch first, then the other one, part by part.
4. A conflict is a question about intent: read both sides and their tests before you answer it.
5. Keep the tests of both. Where they contradict each other, the task decides.
6. Start the environment and run all tests (`envctl`, `envctl test --all`), then look at the whole difference to `dev`
   once more.

## What to hand over

- A branch that can go into `dev`, with tests green.
- A note of what came from where, and of what was left out.

## Final answer

1. The name of the branch and how its tests ended.
2. A table: part, taken from, reason.
3. What was left out.
4. What the person has to decide.

## Before you stop

- Is every demand of both tasks met, or named as open?
- Does `git log dev..` tell the story in an order that makes sense?
]]
