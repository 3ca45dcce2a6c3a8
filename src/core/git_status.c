// Status through libgit2, which costs more to load than a whole inspection command: it is opened on first use.
#include <dlfcn.h>
#include <git2.h>
#include <stdio.h>
#include <string.h>

#include "envctl/git.h"

// The functions in use, by their prototypes.
static struct {
    __typeof__(git_libgit2_init) *init;
    __typeof__(git_libgit2_opts) *opts;
    __typeof__(git_error_last) *error_last;
    __typeof__(git_repository_open) *repository_open;
    __typeof__(git_repository_free) *repository_free;
    __typeof__(git_status_list_new) *status_list_new;
    __typeof__(git_status_list_entrycount) *status_list_entrycount;
    __typeof__(git_status_byindex) *status_byindex;
    __typeof__(git_status_list_free) *status_list_free;
} git;

static void *library;

// libgit2 1.5 does not free the match data of a regular expression that finds nothing: about 20 KiB for each status of
// a repository. So status is not something to poll; and the sanitizer is told that this leak is known.
#ifdef __SANITIZE_ADDRESS__
const char *__lsan_default_suppressions(void);
const char *__lsan_default_options(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libpcre2-8.so\n";
}

const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}
#endif

bool ec_git_loaded(void)
{
    return library != NULL;
}

static bool load(ec_err *err)
{
    if (library)
        return true;
    void *lib = dlopen(ENVCTL_LIBGIT2_SONAME, RTLD_NOW | RTLD_LOCAL);
    if (!lib)
        return ec_err_set(err, "EGIT_MISSING", "libgit2: %s", dlerror());
    const struct {
        const char *name;
        void *slot;
    } symbols[] = {
        {"git_libgit2_init", &git.init},
        {"git_libgit2_opts", &git.opts},
        {"git_error_last", &git.error_last},
        {"git_repository_open", &git.repository_open},
        {"git_repository_free", &git.repository_free},
        {"git_status_list_new", &git.status_list_new},
        {"git_status_list_entrycount", &git.status_list_entrycount},
        {"git_status_byindex", &git.status_byindex},
        {"git_status_list_free", &git.status_list_free},
    };
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *address = dlsym(lib, symbols[i].name);
        if (!address) {
            ec_err_set(err, "EGIT_MISSING", "libgit2: has no %s", symbols[i].name);
            dlclose(lib);
            return false;
        }
        memcpy(symbols[i].slot, &address, sizeof address);
    }
    library = lib;
    git.init();
    // Reads work with these; libgit2 1.5 only does not know their names.
    const char *extensions[] = {"worktreeconfig", "partialclone"};
    git.opts(GIT_OPT_SET_EXTENSIONS, extensions, sizeof extensions / sizeof *extensions);
    return true;
}

static bool unsupported(ec_err *err, const char *root)
{
    const git_error *e = git.error_last();
    return ec_err_set(err, "EGIT_UNSUPPORTED", "%s: %s", root, e ? e->message : "libgit2 cannot read it");
}

static void count(ec_git_counts *out, const git_status_entry *e)
{
    const unsigned staged = GIT_STATUS_INDEX_NEW | GIT_STATUS_INDEX_MODIFIED | GIT_STATUS_INDEX_DELETED |
                            GIT_STATUS_INDEX_RENAMED | GIT_STATUS_INDEX_TYPECHANGE;
    const unsigned modified = GIT_STATUS_WT_MODIFIED | GIT_STATUS_WT_DELETED | GIT_STATUS_WT_RENAMED |
                              GIT_STATUS_WT_TYPECHANGE | GIT_STATUS_WT_UNREADABLE;
    out->staged += (e->status & staged) != 0;
    out->modified += (e->status & modified) != 0;
    out->untracked += (e->status & GIT_STATUS_WT_NEW) != 0;
    out->conflicted += (e->status & GIT_STATUS_CONFLICTED) != 0;
}

bool ec_git_readable(const char *root, ec_err *err)
{
    git_repository *repo = NULL;
    bool ok = load(err) && (git.repository_open(&repo, root) == 0 || unsupported(err, root));
    if (repo)
        git.repository_free(repo);
    return ok;
}

bool ec_git_status(ec_git_counts *out, const char *root, ec_err *err)
{
    *out = (ec_git_counts){0};
    if (!load(err))
        return false;
    git_repository *repo = NULL;
    git_status_list *list = NULL;
    bool ok = git.repository_open(&repo, root) == 0 || unsupported(err, root);
    if (ok) {
        git_status_options options = {.version = GIT_STATUS_OPTIONS_VERSION};
        options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
        options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED;
        ok = git.status_list_new(&list, repo, &options) == 0 || unsupported(err, root);
    }
    for (size_t i = 0, n = ok ? git.status_list_entrycount(list) : 0; i < n; i++)
        count(out, git.status_byindex(list, i));
    if (list)
        git.status_list_free(list);
    if (repo)
        git.repository_free(repo);
    return ok;
}
