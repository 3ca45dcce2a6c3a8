---@meta
--- Git repositories. Discovery, HEAD and worktrees are plain file reads; status loads libgit2 on first use.
---@class envctl.host.git
local git = {}

---@class envctl.GitRepo
---@field root string the working tree that contains the start directory (absolute, resolved); for a bare repository its directory
---@field git_dir string
---@field common_dir string equals git_dir but for linked worktrees
---@field linked boolean a linked worktree
---@field bare boolean
---@field main_root string? the main working tree, nil for a bare repository

--- Walks up from start to a directory with .git (directory or file).
---@param start string
---@return envctl.GitRepo? repo, string? message, string? code ENOENT when there is none
function git.discover(start) end
---@param git_dir string
---@return {branch: string?, oid: string?, detached: boolean}? head, string? message, string? code branch nil when detached; oid nil when unborn
function git.head(git_dir) end
--- The linked worktrees git knows, sorted by path. Foreign: what is there belongs to another repository, of which this one is a copy.
---@param common_dir string
---@return {name: string, path: string, git_dir: string, branch: string?, oid: string?, locked: boolean, missing: boolean, foreign: boolean}[]? list, string? message, string? code
function git.worktrees(common_dir) end
--- The object id that a reference stands for, loose or packed.
---@param common_dir string
---@param ref string refs/…
---@return string? oid, string? message, string? code ENOENT when there is none
function git.resolve(common_dir, ref) end
--- Counts of a working tree's state, from libgit2.
---@param root string
---@return {staged: integer, modified: integer, untracked: integer, conflicted: integer}? status, string? message, string? code EGIT_UNSUPPORTED when libgit2 cannot read this repository (use the git command), EGIT_MISSING when there is no libgit2
function git.status(root) end
--- Whether status can work on this repository, without a walk over its files.
---@param root string
---@return true? readable, string? message, string? code as of status
function git.readable(root) end
--- Whether libgit2 has been loaded in this process (for tests of start-up cost).
---@return boolean
function git.loaded() end
return git
