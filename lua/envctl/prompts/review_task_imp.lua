--- Prompt: review an implementation against its task, and harden it.
return [[
# Review the implementation

Somebody implemented `MAIN_TASK.md` in this worktree. Find what is wrong or missing, and mend it.

## Inputs

- `MAIN_TASK.md`: the measure.
- The difference to the base branch: `git diff $(git merge-base HEAD @{upstream})`, or against the branch you are told.
- Further wishes of the person who started you: $ARGUMENTS

## Not negotiable

- Judge against the task, not against taste.
- Show a fault before you mend it: a failing test, or steps that lead to it.
- Leave working behaviour alone; a review is no occasion to rewrite.

## How to go about it

1. Read the task and list what has to hold, including what it implies: errors, empty input, two at a time, a restart in
   the middle.
2. Read the whole difference once, without changing anything. Note doubts.
3. Go through the list: is it there, is it tested, does the test prove it? Break the code on purpose to see the test
   fail.
4. Try the doubtful cases on the running environment (`envctl`, `envctl logs`, `envctl errors`).
5. Mend what you found, worst first: wrong results, lost data, leaks, then the rest. One commit per fault.
6. Run all tests (`envctl test --all`).

## What to hand over

- Commits that mend faults, each with its test.
- A short list of what you looked at and found in order.

## Final answer

1. Verdict in one sentence: fit to merge or not.
2. Faults found, by weight, each with file and line and whether it is mended.
3. Demands of the task that are still not met.

## Before you stop

- Did you look at every file of the difference?
- Is there a demand that no test would notice if it broke?
]]
