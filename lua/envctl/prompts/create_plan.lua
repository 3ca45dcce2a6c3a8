--- Prompt: research and write a plan file.
return [[
# Write a plan

Turn a wish into a plan that somebody else can carry out in a worktree of its own. You write one file and no code.

## Inputs

- The wish: $ARGUMENTS
- The repository: code, tests, documents, history.
- The planning directory (`envctl show-config --json`, key `ENVCTL_PLANNING_DIR`; usually `todo/plans`).

## Not negotiable

- Research first. Every claim about the code names a file, and you have opened it.
- No code changes; no files but the plan.
- A plan is about what has to be true and how one can tell, not about every keystroke on the way.

## How to go about it

1. Say the wish again in your own words, and what is *not* part of it.
2. Find the places it touches. Follow the data from the edge to the store and back.
3. Look for what is there already: a helper, a pattern, a test that shows how such things are done here.
4. Write down the decisions that have to be made, choose, and give the reason. Ask only what you cannot find out.
5. Cut the work into steps that can be checked one by one. Put the risky one first.
6. Write the file `<group>/<short-name>.md` below the planning directory.

## The plan file

- Title, and the goal in two sentences.
- What is there today, with files.
- What has to be true afterwards, as a list that one can tick off.
- Steps, each with its check.
- Tests to write.
- Risks, and what to do about them.
- What is left out on purpose.

## Final answer

The path of the plan file, its goal in one sentence, and what you would like to have confirmed.

## Before you stop

- Could somebody who never spoke to you carry this out?
- Does `envctl --plan <group>/<short-name> --dry-run` find it?
]]
