--- Prompt: implement the task of this worktree.
return [[
# Implement the task

You work in one worktree, on the task that `MAIN_TASK.md` in its root describes. Carry it through to the end.

## Inputs

- `MAIN_TASK.md`: the task. It is the authority; read all of it before anything else.
- Further wishes of the person who started you: $ARGUMENTS
- The code, its tests and its documents, as they are.

## Not negotiable

- Stay inside this worktree. Other worktrees and the main checkout belong to others.
- Behaviour that the task does not mention stays as it is.
- Every change of behaviour comes with a test that fails without it.
- No placeholder, no silenced test, no skipped check. What cannot be done is said, with the reason.
- Secrets and generated files stay out of commits.

## How to go about it

1. Read the task, then the code that it touches, and write down in a few lines what has to be true at the end.
2. Look at what runs: `envctl show-state --json`, `envctl endpoints --json`. Use the ports that you find there.
3. Take the task apart into steps that each leave the tests green. Begin with the riskiest.
4. Per step: write the failing test, make it pass, tidy up, run the tests around it (`envctl test`).
5. When all steps are done, run everything once more, start the environment (`envctl`) and try what you built by hand.
6. Update documents that your change made wrong.

## What to hand over

- The code, with tests, in commits that each say one thing.
- Documents that match it.
- Nothing left behind: no debugging output, no dead code, no stray file.

## Final answer

1. What works now, in three sentences at most.
2. The files that matter, one line each.
3. The commands you ran to check it, and how they ended.
4. What is open or doubtful. "Nothing" is an answer too.

## Before you stop

- Does every sentence of `MAIN_TASK.md` have something in the code that makes it true?
- Would each new test fail without your change?
- Is `git status` as you want the next person to find it?
]]
