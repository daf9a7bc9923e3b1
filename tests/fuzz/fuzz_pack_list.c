/* Any bytes as an annotation list: refused with one line that names the file, or entries whose
 * names, labels and counts are in range and, where the name is plain, read the same when they are
 * written as a list again. */
#include "crossframe/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* Says yes to some names, so that both readings of a number before the label are tried. */
static bool has_even(void *user, const char *name)
{
    (void)user;
    return strlen(name) % 2 == 0;
}

/* No comma or quote, no blank at an end (quotes may hold one), no mark of byte order first. */
static bool is_plain(const char *name)
{
    static const char blanks[] = " \t\n\v\f\r";
    return !strpbrk(name, ",\"") && !strchr(blanks, name[0]) &&
           !strchr(blanks, name[strlen(name) - 1]) && strncmp(name, "\xef\xbb\xbf", 3) != 0;
}

static void check_again(const cf_list *l, size_t i)
{
    cf_list_entry e = cf_list_get(l, i), again;
    char *line;
    cf_list *one;
    /* With a count the line is of the third kind; without, a word keeps it from being that. */
    CF_ASSERT(e.count >= 0 ? cf_format(&line, "%s %d %d\n", e.name, e.count, e.label) == CF_OK
                           : cf_format(&line, "%s %d\nx 0", e.name, e.label) == CF_OK);
    CF_ASSERT(cf_list_parse(&one, line, strlen(line), "again", 0, NULL, NULL) == CF_OK);
    CF_ASSERT(cf_list_size(one) == (e.count >= 0 ? 1 : 2));
    again = cf_list_get(one, 0);
    CF_ASSERT(again.label == e.label && again.count == e.count);
    cf_list_free(one);
    cf_free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    cf_list *l;
    size_t last = 0, n_classes = n % 3 ? 0 : 5;
    cf_list_has *has = n % 2 ? has_even : NULL;
    if (cf_list_parse(&l, (const char *)bytes, n, "fuzz", n_classes, has, NULL) != CF_OK) {
        CF_ASSERT(strstr(cf_error(), "fuzz"));
        return 0;
    }
    for (size_t i = 0; i < cf_list_size(l); i++) {
        cf_list_entry e = cf_list_get(l, i);
        CF_ASSERT(*e.name && !strchr(e.name, '\n') && strlen(e.name) < n);
        CF_ASSERT(e.label >= 0 && e.count >= -1 && e.line > last);
        CF_ASSERT(!n_classes || (size_t)e.label < n_classes);
        last = e.line;
        if (i < 50 && is_plain(e.name)) check_again(l, i);
    }
    cf_list_free(l);
    return 0;
}
