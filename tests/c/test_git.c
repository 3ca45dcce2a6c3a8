// Repositories that git made, read without git: whatever it can leave on a disk has to be told the way git tells it.
#include "support.h"

#include "envctl/git.h"

// ---- git, without the user's configuration ----

static char *base; // resolved

static void run(const char *dir, const char *const *argv, int out)
{
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(out >= 0 ? out : null, 1);
        dup2(null, 2);
        if (chdir(dir) != 0)
            _exit(126);
        execvp("git", (char *const *)argv);
        _exit(127);
    }
    int status = reap(pid);
    if (status != 0)
        fail_msg("git %s %s in %s: status %d", argv[1], argv[2] ? argv[2] : "", dir, status);
}

#define git(dir, ...) run(dir, (const char *const[]){"git", __VA_ARGS__, NULL}, -1)

// First line of what git says.
static const char *ask(char out[PATH_MAX], const char *dir, const char *const *argv)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    run(dir, argv, fds[1]);
    close(fds[1]);
    ssize_t n = read(fds[0], out, PATH_MAX - 1);
    close(fds[0]);
    assert_true(n >= 0);
    out[n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return out;
}

#define git_says(out, dir, ...) ask(out, dir, (const char *const[]){"git", __VA_ARGS__, NULL})

static void commit(const char *dir, const char *file, const char *text)
{
    put_text(in_dir(dir, file), text);
    git(dir, "add", "--", file);
    git(dir, "commit", "-q", "-m", text);
}

// A repository with one commit on main. Its name stays good for the seven that are made next.
static const char *make_repo(const char *name)
{
    static char ring[8][PATH_MAX];
    static unsigned next;
    char *dir = ring[next++ % 8];
    snprintf(dir, PATH_MAX, "%s", in_dir(base, name));
    git(base, "init", "-q", "-b", "main", dir);
    commit(dir, "file", "one");
    return dir;
}

static int set_up(void **state)
{
    (void)state;
    base = make_dir();
    char *real = realpath(base, NULL);
    assert_non_null(real);
    free(base);
    base = real;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    drop_dir(base);
    return 0;
}

static void assert_code(bool ok, const ec_err *err, const char *code)
{
    assert_false(ok);
    assert_string_equal(err->code, code);
    assert_true(strlen(err->message) > 0);
}

// ---- discovery ----

static void test_discover(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    ec_git_repo r;
    ec_err err;
    assert_int_equal(mkdir(in_dir(dir, "a"), 0700), 0);
    assert_int_equal(mkdir(in_dir(dir, "a/b"), 0700), 0);
    assert_int_equal(symlink("repo/a", in_dir(base, "alias")), 0);
    // Also from a file, through a link, and from inside of .git, which stands in the working tree.
    const char *const starts[] = {"repo",      "repo/a/b",       "repo/file",  "alias/b",
                                  "repo/.git", "repo/.git/refs", "repo/./a/.."};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        assert_true(ec_git_discover(&r, in_dir(base, starts[i]), &err));
        assert_string_equal(r.root, dir);
        assert_string_equal(r.git_dir, in_dir(dir, ".git"));
        assert_string_equal(r.common_dir, r.git_dir);
        assert_string_equal(r.main_root, dir);
        assert_false(r.linked);
        assert_false(r.bare);
    }
    assert_code(ec_git_discover(&r, in_dir(base, "none"), &err), &err, "ENOENT");
    assert_code(ec_git_discover(&r, base, &err), &err, "ENOENT");
    assert_code(ec_git_discover(&r, "/", &err), &err, "ENOENT");
    // A .git that is no repository does not hide the one around it.
    assert_int_equal(mkdir(in_dir(dir, "a/.git"), 0700), 0);
    put_text(in_dir(dir, "a/b/.git"), "not a gitdir line\n");
    assert_true(ec_git_discover(&r, in_dir(dir, "a/b"), &err));
    assert_string_equal(r.root, dir);
}

static void test_discover_elsewhere(void **state)
{
    (void)state;
    ec_git_repo r;
    ec_err err;
    // The git directory is somewhere else, named absolutely, relatively, or by a link.
    git(base, "init", "-q", "--separate-git-dir", in_dir(base, "meta"), in_dir(base, "repo"));
    static const char *const forms[] = {"gitdir: ../meta\n", "gitdir: ../meta", "gitdir: ../meta\r\n", NULL};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (forms[i])
            put_text(in_dir(base, "repo/.git"), forms[i]);
        else
            assert_int_equal(unlink(in_dir(base, "repo/.git")) + symlink("../meta", in_dir(base, "repo/.git")), 0);
        assert_true(ec_git_discover(&r, in_dir(base, "repo"), &err));
        assert_string_equal(r.root, in_dir(base, "repo"));
        assert_string_equal(r.git_dir, in_dir(base, "meta"));
        assert_string_equal(r.main_root, r.root);
        assert_false(r.linked);
    }
    unlink(in_dir(base, "repo/.git"));
    put_text(in_dir(base, "repo/.git"), "gitdir: ../gone\n");
    assert_code(ec_git_discover(&r, in_dir(base, "repo"), &err), &err, "ENOENT");
    assert_non_null(strstr(err.message, "git worktree repair"));
    // A link to a .git file.
    put_text(in_dir(base, "dotgit"), "gitdir: ../meta\n");
    unlink(in_dir(base, "repo/.git"));
    assert_int_equal(symlink("../dotgit", in_dir(base, "repo/.git")), 0);
    assert_true(ec_git_discover(&r, in_dir(base, "repo"), &err));
    assert_string_equal(r.git_dir, in_dir(base, "meta"));
}

static void test_discover_bare(void **state)
{
    (void)state;
    ec_git_repo r;
    ec_err err;
    make_repo("repo");
    git(base, "clone", "-q", "--bare", "repo", "plain.git");
    // Two well-known ways to keep worktrees beside a bare repository.
    git(base, "clone", "-q", "--bare", "repo", "one/.git");
    git(base, "clone", "-q", "--bare", "repo", "two/.bare");
    put_text(in_dir(base, "two/.git"), "gitdir: ./.bare\n");
    const struct {
        const char *start, *root, *git_dir;
    } table[] = {
        {"plain.git", "plain.git", "plain.git"},
        {"plain.git/refs/heads", "plain.git", "plain.git"},
        {"one", "one", "one/.git"},
        {"one/.git/refs", "one/.git", "one/.git"},
        {"two", "two", "two/.bare"},
        {"two/.bare", "two/.bare", "two/.bare"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_true(ec_git_discover(&r, in_dir(base, table[i].start), &err));
        assert_true(r.bare);
        assert_string_equal(r.root, in_dir(base, table[i].root));
        assert_string_equal(r.git_dir, in_dir(base, table[i].git_dir));
        assert_string_equal(r.main_root, "");
    }
    static const char *const bare[] = {"plain.git", "one", "two"};
    for (size_t i = 0; i < 3; i++) {
        const char *tree = in_dir(base, i == 0 ? "tree0" : i == 1 ? "one/tree1" : "two/tree2");
        git(in_dir(base, bare[i]), "worktree", "add", "-q", "-b", "side", tree);
        assert_true(ec_git_discover(&r, tree, &err));
        assert_true(r.linked);
        assert_false(r.bare);
        assert_string_equal(r.root, tree);
        assert_string_equal(r.main_root, "");
    }
}

static void test_discover_linked(void **state)
{
    (void)state;
    const char *dir = make_repo("repo"), *tree = in_dir(base, "tree");
    ec_git_repo r;
    ec_err err;
    git(dir, "worktree", "add", "-q", "-b", "feature/x", tree);
    for (int relative = 0; relative < 2; relative++) {
        if (relative) // what worktree.useRelativePaths of newer git writes
            put_text(in_dir(tree, ".git"), "gitdir: ../repo/.git/worktrees/tree\n");
        assert_true(ec_git_discover(&r, tree, &err));
        assert_string_equal(r.root, tree);
        assert_string_equal(r.git_dir, in_dir(dir, ".git/worktrees/tree"));
        assert_string_equal(r.common_dir, in_dir(dir, ".git"));
        assert_string_equal(r.main_root, dir);
        assert_true(r.linked);
        assert_false(r.bare);
    }
    // Sparse worktrees: git moves some of the configuration to a file of its own.
    git(tree, "sparse-checkout", "set", "a");
    assert_true(ec_git_discover(&r, tree, &err));
    assert_string_equal(r.main_root, dir);
    put_text(in_dir(dir, ".git/worktrees/tree/commondir"), "../../gone\n");
    assert_code(ec_git_discover(&r, tree, &err), &err, "ENOENT");
    assert_non_null(strstr(err.message, "commondir"));
}

static void test_discover_submodule(void **state)
{
    (void)state;
    make_repo("lib");
    const char *super = make_repo("super"), *sub = in_dir(super, "sub"), *tree = in_dir(base, "subtree");
    ec_git_repo r;
    ec_err err;
    git(super, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", in_dir(base, "lib"), "sub");
    assert_true(ec_git_discover(&r, sub, &err));
    assert_string_equal(r.root, sub);
    assert_string_equal(r.git_dir, in_dir(super, ".git/modules/sub"));
    assert_string_equal(r.main_root, sub);
    assert_false(r.linked);
    git(sub, "worktree", "add", "-q", "-b", "side", tree);
    assert_true(ec_git_discover(&r, tree, &err));
    assert_true(r.linked);
    assert_string_equal(r.common_dir, in_dir(super, ".git/modules/sub"));
    assert_string_equal(r.main_root, sub);
}

// ---- HEAD ----

static void assert_head(const char *git_dir, const char *branch, const char *oid)
{
    ec_git_head h;
    ec_err err = {0};
    if (!ec_git_head_read(&h, git_dir, &err))
        fail_msg("%s: %s", git_dir, err.message);
    assert_string_equal(h.branch, branch);
    assert_string_equal(h.oid, oid);
    assert_int_equal(h.detached, *branch == '\0');
}

static void test_head(void **state)
{
    (void)state;
    const char *empty = in_dir(base, "empty"), *dir = make_repo("repo");
    char oid[PATH_MAX], second[PATH_MAX], git_dir[PATH_MAX];
    snprintf(git_dir, sizeof git_dir, "%s/.git", dir);
    git(base, "init", "-q", "-b", "unborn/branch", empty);
    assert_head(in_dir(empty, ".git"), "unborn/branch", "");
    git_says(oid, dir, "rev-parse", "HEAD");
    assert_head(git_dir, "main", oid);
    git(dir, "pack-refs", "--all");
    assert_int_equal(access(in_dir(git_dir, "refs/heads/main"), F_OK), -1);
    assert_head(git_dir, "main", oid);
    git(dir, "checkout", "-q", "-b", "feature/deep/name");
    commit(dir, "file", "two");
    git_says(second, dir, "rev-parse", "HEAD");
    assert_head(git_dir, "feature/deep/name", second);
    // Packed, an annotated tag beside it, and a branch whose name is the beginning of another's.
    git(dir, "tag", "-a", "-m", "t", "v1");
    git(dir, "branch", "main2", oid);
    git(dir, "pack-refs", "--all");
    assert_head(git_dir, "feature/deep/name", second);
    commit(dir, "file", "three"); // loose again: it wins over the packed one
    git_says(second, dir, "rev-parse", "HEAD");
    assert_head(git_dir, "feature/deep/name", second);
    git(dir, "checkout", "-q", "main");
    assert_head(git_dir, "main", oid);
    git(dir, "checkout", "-q", "--detach", second);
    assert_head(git_dir, "", second);
    // A branch that names another.
    git(dir, "symbolic-ref", "refs/heads/alias", "refs/heads/main");
    git(dir, "symbolic-ref", "HEAD", "refs/heads/alias");
    assert_head(git_dir, "alias", oid);
    git(dir, "symbolic-ref", "HEAD", "refs/remotes/origin/x");
    assert_head(git_dir, "refs/remotes/origin/x", "");
    // sha256
    git(base, "init", "-q", "-b", "main", "--object-format=sha256", "big");
    commit(in_dir(base, "big"), "file", "one");
    git_says(oid, in_dir(base, "big"), "rev-parse", "HEAD");
    assert_int_equal(strlen(oid), 64);
    assert_head(in_dir(base, "big/.git"), "main", oid);
}

static void test_head_of_worktrees(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    char oid[PATH_MAX];
    git_says(oid, dir, "rev-parse", "HEAD");
    git(dir, "worktree", "add", "-q", "-b", "side", in_dir(base, "tree"));
    git(dir, "worktree", "add", "-q", "--detach", in_dir(base, "loose"));
    for (int packed = 0; packed < 2; packed++) {
        assert_head(in_dir(dir, ".git/worktrees/tree"), "side", oid);
        assert_head(in_dir(dir, ".git/worktrees/loose"), "", oid);
        git(dir, "pack-refs", "--all");
    }
    ec_git_head h;
    ec_err err;
    put_text(in_dir(dir, ".git/worktrees/tree/commondir"), "../gone\n");
    assert_code(ec_git_head_read(&h, in_dir(dir, ".git/worktrees/tree"), &err), &err, "ENOENT");
}

#define OID "0123456789abcdef0123456789abcdef01234567"

// A HEAD that somebody made up: it is refused or says nothing, and other files are not repeated.
static void test_head_that_was_planted(void **state)
{
    (void)state;
    char dir[PATH_MAX], longest[2000];
    snprintf(dir, sizeof dir, "%s/g", base);
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "ref: refs/heads/", 16);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(mkdir(in_dir(dir, "refs"), 0700), 0);
    assert_int_equal(mkdir(in_dir(dir, "refs/heads"), 0700), 0);
    put_text(in_dir(base, "secret"), OID "\n");
    put_text(in_dir(dir, "refs/heads/text"), "top secret text\n");
    put_text(in_dir(dir, "refs/heads/out"), "ref: refs/../../secret\n");
    put_text(in_dir(dir, "refs/heads/loop"), "ref: refs/heads/loop\n");
    const struct {
        const char *head, *code, *branch, *oid; // code NULL: it can be read
    } table[] = {
        {"ref: refs/../../secret\n", "EINVAL", NULL, NULL},
        {"ref: ../secret\n", "EINVAL", NULL, NULL},
        {"ref: /etc/hostname\n", "EINVAL", NULL, NULL},
        {"ref: refs/heads/\n", "EINVAL", NULL, NULL},
        {"ref: refs//heads\n", "EINVAL", NULL, NULL},
        {"ref:\n", "EINVAL", NULL, NULL},
        {"", "EINVAL", NULL, NULL},
        {"\n" OID "\n", "EINVAL", NULL, NULL},
        {"0123456\n", "EINVAL", NULL, NULL},
        {"root:x:0:0:root:/root:/bin/bash\n", "EINVAL", NULL, NULL},
        {"ref: refs/heads/.invalid\n", "EGIT_UNSUPPORTED", NULL, NULL},
        {"ref: refs/heads/text\n", NULL, "text", ""},
        {"ref: refs/heads/out\n", NULL, "out", ""},
        {"ref: refs/heads/loop\n", NULL, "loop", ""},
        {"ref: refs/heads/none", NULL, "none", ""},
        {"ref:\trefs/heads/none \r\n", NULL, "none", ""},
        {"ref: refs/heads/\xff\xfe\n", NULL, "\xff\xfe", ""},
        {OID, NULL, "", OID},
        {OID "\r\nmore\n", NULL, "", OID},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        ec_git_head h;
        ec_err err = {0};
        put_text(in_dir(dir, "HEAD"), table[i].head);
        bool ok = ec_git_head_read(&h, dir, &err);
        if (ok != !table[i].code || (!ok && strcmp(err.code, table[i].code) != 0))
            fail_msg("row %zu: %s", i, ok ? "was read" : err.message);
        assert_null(strstr(err.message, "root:x"));
        if (ok) {
            assert_string_equal(h.branch, table[i].branch);
            assert_string_equal(h.oid, table[i].oid);
        }
    }
    ec_git_head h;
    put_text(in_dir(dir, "HEAD"), longest);
    assert_true(ec_git_head_read(&h, dir, NULL));
    assert_int_equal(strlen(h.branch), sizeof h.branch - 1);
}

static void test_head_that_is_not_a_file(void **state)
{
    (void)state;
    const char *dir = in_dir(base, "g"), *head = in_dir(dir, "HEAD");
    ec_git_head h;
    ec_err err;
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_code(ec_git_head_read(&h, dir, &err), &err, "ENOENT");
    assert_non_null(strstr(err.message, head));
    assert_int_equal(mkdir(head, 0700), 0);
    assert_code(ec_git_head_read(&h, dir, &err), &err, "EISDIR");
    assert_int_equal(rmdir(head), 0);
    assert_int_equal(mkfifo(head, 0600), 0); // and does not wait
    assert_code(ec_git_head_read(&h, dir, &err), &err, "EINVAL");
    assert_int_equal(unlink(head), 0);
    // The link of very old repositories.
    assert_int_equal(mkdir(in_dir(dir, "refs"), 0700), 0);
    assert_int_equal(mkdir(in_dir(dir, "refs/heads"), 0700), 0);
    put_text(in_dir(dir, "refs/heads/old"), OID "\n");
    assert_int_equal(symlink("refs/heads/old", head), 0);
    assert_head(dir, "old", OID);
    unlink(head);
    char *deep = malloc(2 * PATH_MAX);
    assert_non_null(deep);
    memset(deep, 'd', 2 * PATH_MAX - 1);
    deep[2 * PATH_MAX - 1] = '\0';
    assert_code(ec_git_head_read(&h, deep, &err), &err, "ENAMETOOLONG");
    free(deep);
}

// ---- linked worktrees ----

static void test_worktrees(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    char common[PATH_MAX], oid[PATH_MAX];
    ec_git_worktree w;
    snprintf(common, sizeof common, "%s/.git", dir);
    git_says(oid, dir, "rev-parse", "HEAD");
    git(dir, "worktree", "add", "-q", "-b", "side", in_dir(base, "tree"));
    git(dir, "worktree", "lock", in_dir(base, "tree"));
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_string_equal(w.name, "tree");
    assert_string_equal(w.path, in_dir(base, "tree"));
    assert_string_equal(w.git_dir, in_dir(common, "worktrees/tree"));
    assert_string_equal(w.head.branch, "side");
    assert_string_equal(w.head.oid, oid);
    assert_true(w.locked);
    assert_false(w.missing);
    git(dir, "worktree", "unlock", in_dir(base, "tree"));
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_false(w.locked);
    // Relative to the worktree's git directory, wherever we are.
    put_text(in_dir(common, "worktrees/tree/gitdir"), "../../../../tree/.git\n");
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_string_equal(w.path, in_dir(base, "tree"));
    assert_false(w.missing);
    assert_false(w.foreign);
    // It names another repository, of which this one is a copy; what it names is nowhere, after a move.
    char back[PATH_MAX + 16];
    snprintf(back, sizeof back, "gitdir: %s/.git\n", make_repo("other"));
    put_text(in_dir(base, "tree/.git"), back);
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_true(w.foreign);
    put_text(in_dir(base, "tree/.git"), "gitdir: /nowhere/at/all\n");
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_false(w.foreign);
    // Its directory is gone, or has lost its .git.
    assert_int_equal(unlink(in_dir(base, "tree/.git")), 0);
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_true(w.missing);
    assert_string_equal(w.path, in_dir(base, "tree"));
    put_text(in_dir(common, "worktrees/tree/gitdir"), "/nowhere/at/all/.git\n");
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_true(w.missing);
    assert_string_equal(w.path, "/nowhere/at/all");
    assert_string_equal(w.head.branch, "side");
    // Without a HEAD it is still a worktree; without a gitdir it is none.
    assert_int_equal(unlink(in_dir(common, "worktrees/tree/HEAD")), 0);
    assert_true(ec_git_worktree_read(&w, common, "tree"));
    assert_string_equal(w.head.branch, "");
    assert_string_equal(w.head.oid, "");
    static const char *const broken[] = {"", "\n", "noslash\n", "/.git\n", NULL};
    for (const char *const *b = broken; *b; b++) {
        put_text(in_dir(common, "worktrees/tree/gitdir"), *b);
        assert_false(ec_git_worktree_read(&w, common, "tree"));
    }
    assert_int_equal(unlink(in_dir(common, "worktrees/tree/gitdir")), 0);
    assert_false(ec_git_worktree_read(&w, common, "tree"));
    assert_false(ec_git_worktree_read(&w, common, "none"));
}

// ---- status ----

static void assert_status(const char *dir, size_t staged, size_t modified, size_t untracked, size_t conflicted)
{
    ec_git_counts c;
    ec_err err = {0};
    if (!ec_git_status(&c, dir, &err))
        fail_msg("%s: %s", err.code, err.message);
    assert_int_equal(c.staged, staged);
    assert_int_equal(c.modified, modified);
    assert_int_equal(c.untracked, untracked);
    assert_int_equal(c.conflicted, conflicted);
}

// Runs first: nothing before it loads libgit2.
static void test_discovery_does_not_load_libgit2(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    char oid[PATH_MAX];
    ec_git_repo r;
    assert_true(ec_git_discover(&r, dir, NULL));
    assert_head(r.git_dir, "main", git_says(oid, dir, "rev-parse", "HEAD"));
    assert_false(ec_git_loaded());
    assert_status(dir, 0, 0, 0, 0);
    assert_true(ec_git_loaded());
}

static void test_status(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    commit(dir, "second", "s");
    commit(dir, "third", "t");
    assert_status(dir, 0, 0, 0, 0);
    put_text(in_dir(dir, ".git/info/exclude"), "ignored\n");
    put_text(in_dir(dir, "ignored"), "");
    put_text(in_dir(dir, "new"), "");
    assert_int_equal(mkdir(in_dir(dir, "newdir"), 0700), 0);
    put_text(in_dir(dir, "newdir/a"), "");
    put_text(in_dir(dir, "newdir/b"), "");
    assert_status(dir, 0, 0, 2, 0); // a new directory counts once
    put_text(in_dir(dir, "file"), "changed");
    assert_int_equal(unlink(in_dir(dir, "second")), 0);
    assert_status(dir, 0, 2, 2, 0);
    git(dir, "add", "file", "new");
    assert_status(dir, 2, 1, 1, 0);
    put_text(in_dir(dir, "file"), "changed once more"); // staged and modified
    assert_status(dir, 2, 2, 1, 0);
    // A linked worktree has a state of its own.
    git(dir, "worktree", "add", "-q", "-b", "side", in_dir(base, "tree"));
    assert_status(in_dir(base, "tree"), 0, 0, 0, 0);
    put_text(in_dir(base, "tree/other"), "");
    assert_status(in_dir(base, "tree"), 0, 0, 1, 0);
}

static void test_status_in_a_conflict(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    git(dir, "checkout", "-q", "-b", "side");
    commit(dir, "file", "theirs");
    git(dir, "checkout", "-q", "main");
    commit(dir, "file", "ours");
    // It fails, as it should: an alias hides that.
    git(dir, "-c", "alias.m=!git merge -q side || true", "m");
    assert_status(dir, 0, 0, 0, 1);
}

static void test_status_of_an_empty_repository(void **state)
{
    (void)state;
    const char *dir = in_dir(base, "empty");
    git(base, "init", "-q", dir);
    assert_status(dir, 0, 0, 0, 0);
    put_text(in_dir(dir, "a"), "");
    assert_status(dir, 0, 0, 1, 0);
}

// What libgit2 1.5 refuses out of the box but can read.
static void test_status_with_known_extensions(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    git(dir, "config", "core.repositoryformatversion", "1");
    git(dir, "config", "extensions.worktreeConfig", "true");
    git(dir, "config", "extensions.partialClone", "origin");
    put_text(in_dir(dir, "a"), "");
    assert_status(dir, 0, 0, 1, 0);
}

// And what it cannot read: told apart from other failures, so that the git command is asked instead.
static void test_status_of_what_is_unsupported(void **state)
{
    (void)state;
    ec_git_counts c;
    ec_err err;
    git(base, "init", "-q", "--object-format=sha256", "sha256");
    const char *split = make_repo("split"), *future = make_repo("future"), *broken = make_repo("broken");
    git(split, "update-index", "--split-index");
    git(future, "config", "core.repositoryformatversion", "1");
    git(future, "config", "extensions.madeUp", "true");
    put_text(in_dir(broken, ".git/index"), "not an index at all, but long enough to be looked at");
    static const char *const names[] = {"sha256", "split", "future", "broken", "none", "."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *dir = in_dir(base, names[i]);
        assert_code(ec_git_status(&c, dir, &err), &err, "EGIT_UNSUPPORTED");
        assert_non_null(strstr(err.message, dir));
        assert_int_equal(c.staged + c.modified + c.untracked + c.conflicted, 0);
    }
}

// Status runs nothing that a repository names.
static void test_status_runs_no_programs(void **state)
{
    (void)state;
    const char *dir = make_repo("repo");
    char command[PATH_MAX], script[PATH_MAX + 64];
    snprintf(command, sizeof command, "%.2000s/canary.sh", base);
    snprintf(script, sizeof script, "#!/bin/sh\ntouch %s/canary\n", base);
    put_text(command, script);
    assert_int_equal(chmod(command, 0700), 0);
    git(dir, "config", "core.fsmonitor", command);
    git(dir, "config", "core.pager", command);
    git(dir, "config", "filter.evil.clean", command);
    git(dir, "config", "filter.evil.smudge", command);
    git(dir, "config", "filter.evil.process", command);
    git(dir, "config", "diff.evil.textconv", command);
    put_text(in_dir(dir, ".gitattributes"), "* filter=evil diff=evil\n");
    put_text(in_dir(dir, "file"), "changed");
    assert_status(dir, 0, 1, 1, 0);
    assert_int_equal(access(in_dir(base, "canary"), F_OK), -1);
}

int main(void)
{
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    setenv("GIT_CONFIG_GLOBAL", "/dev/null", 1);
    setenv("GIT_TERMINAL_PROMPT", "0", 1);
    static const char *const names[] = {"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME",
                                        "GIT_COMMITTER_EMAIL"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        setenv(names[i], "test", 1);
    static const char *const unset[] = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CEILING_DIRECTORIES"};
    for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
        unsetenv(unset[i]);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_discovery_does_not_load_libgit2),
        TEST(test_discover),
        TEST(test_discover_elsewhere),
        TEST(test_discover_bare),
        TEST(test_discover_linked),
        TEST(test_discover_submodule),
        TEST(test_head),
        TEST(test_head_of_worktrees),
        TEST(test_head_that_was_planted),
        TEST(test_head_that_is_not_a_file),
        TEST(test_worktrees),
        TEST(test_status),
        TEST(test_status_in_a_conflict),
        TEST(test_status_of_an_empty_repository),
        TEST(test_status_with_known_extensions),
        TEST(test_status_of_what_is_unsupported),
        TEST(test_status_runs_no_programs),
    };
    return cmocka_run_group_tests_name("git", tests, NULL, NULL);
}
