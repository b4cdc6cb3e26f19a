/* Commits a second through backends/core/store: one thread, then eight. Usage: bench_store [FOLDER] */
#include "backends/core/store.h"
#include "common/clock.h"
#include "common/fd.h"
#include "common/thread.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>

enum { RUN_MS = 2000, DOCUMENT_BYTES = 4096 };

typedef struct Run {
    SlStore *store;
    atomic_uint n_commits, n_ids;
    int64_t end_ms;
} Run;

static void *
commit_loop(void *data)
{
    Run *run = data;
    g_autofree char *document = g_strnfill(DOCUMENT_BYTES, 'x');
    g_autofree char *id = g_strdup_printf("container-%u", atomic_fetch_add(&run->n_ids, 1));
    SlStoreChange change = { .kind = "container", .id = id, .document = document };
    unsigned n = 0;

    while (sl_clock_monotonic_ms() < run->end_ms) {
        g_autoptr(GError) error = NULL;

        document[n++ % DOCUMENT_BYTES] ^= 1; /* SQLite writes nothing for a document that stays the same */
        if (!sl_store_commit(run->store, &change, 1, NULL, 0, &error))
            g_error("%s", error->message);
        atomic_fetch_add(&run->n_commits, 1);
    }
    return NULL;
}

static void
measure(SlStore *store, unsigned n_threads)
{
    Run run = { .store = store, .end_ms = sl_clock_monotonic_ms() + RUN_MS };
    pthread_t threads[8];

    for (unsigned i = 0; i < n_threads; i++)
        pthread_create(&threads[i], NULL, commit_loop, &run);
    for (unsigned i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    printf("%u threads: %.0f commits/s of %d bytes\n", n_threads,
           atomic_load(&run.n_commits) * 1000.0 / RUN_MS, DOCUMENT_BYTES);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *made = argc > 1 ? NULL : g_dir_make_tmp("sl-bench-XXXXXX", &error);
    g_autofree char *path = g_build_filename(argc > 1 ? argv[1] : made, "bench.db", NULL);
    SlStore *store = sl_store_open(path, &error);

    if (!store)
        g_error("%s", error->message);
    measure(store, 1);
    measure(store, 8);
    sl_store_close(store);
    if (made)
        sl_tree_remove(AT_FDCWD, made, NULL);
    return 0;
}
