/* Any bytes as DATA.TRAIN_FILE, a list of videos or of packs, with a folder as DATA.ROOT: refused
 * with one line, or a dataset whose videos open or say why not. */
#include "crossframe/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char folder[] = "/tmp/crossframe-fuzz-XXXXXX", list[64];

static void remove_folder(void)
{
    static const char *const names[] = { "list", "a.png", "b/1.png", "b/2.png", "b" };
    char path[80];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        remove(path);
    }
    rmdir(folder);
}

/* ROOT holds a picture and a folder of two. */
static void make_folder(void)
{
    static const uint8_t pixels[2 * 2 * 3];
    static const char *const names[] = { "a.png", "b/1.png", "b/2.png" };
    char path[80];
    CF_ASSERT(mkdtemp(folder));
    atexit(remove_folder);
    snprintf(list, sizeof list, "%s/list", folder);
    snprintf(path, sizeof path, "%s/b", folder);
    CF_ASSERT(mkdir(path, 0777) == 0);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        CF_ASSERT(cf_png_write(path, pixels, 2, 2) == CF_OK);
    }
}

/* Absolute names would lead the fuzzer out of its folder. */
static bool leads_out(const uint8_t *bytes, size_t n)
{
    return memchr(bytes, '/', n) && memmem(bytes, n, "..", 2);
}

static void read_videos(const cf_dataset *d)
{
    cf_video_reader *r;
    int64_t n;
    CF_ASSERT(cf_video_reader_new(&r, d) == CF_OK);
    for (size_t i = 0; i < cf_dataset_size(d) && i < 20; i++) {
        CF_ASSERT(*cf_dataset_name(d, i) && cf_dataset_label(d, i) >= 0);
        CF_ASSERT((size_t)cf_dataset_label(d, i) < cf_dataset_n_classes(d));
        if (*cf_dataset_name(d, i) == '/') continue;
        if (cf_video_reader_open(&n, r, i) == CF_OK)
            CF_ASSERT(n >= 1);
        else
            CF_ASSERT(*cf_error());
    }
    cf_video_reader_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    cf_dataset *d;
    if (!*list) make_folder();
    if (leads_out(bytes, n)) return 0;
    FILE *f = fopen(list, "wb");
    CF_ASSERT(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
    if (cf_dataset_open_partial(&d, list, folder) != CF_OK) {
        CF_ASSERT(*cf_error() && !strchr(cf_error(), '\n'));
        return 0;
    }
    read_videos(d);
    cf_dataset_free(d);
    return 0;
}
