/* list: annotation lists, one video a line: `path label`, `path,label` or `path count label`, as
 * the published lists of this field are written.
 *
 * The label is the last field and the name all before it, so names may hold spaces and commas. A
 * list is of the third kind when on every line the field before the label is a whole number; commas
 * may part its fields too. A name in double quotes before a comma is read as in CSV. Blank lines
 * are skipped, CRLF and a byte order mark are fine; there are no comments. What does not fit is
 * refused with file and line. */
#ifndef CROSSFRAME_LIST_H
#define CROSSFRAME_LIST_H

#include "crossframe/support.h"

typedef struct {
    const char *name; /* borrowed from the list */
    int32_t label;
    int32_t count; /* frames, by the list; -1 = it does not tell */
    size_t line;   /* from 1 */
} cf_list_entry;

typedef struct cf_list cf_list;
/* Asked once where a list could be of the third kind: is there a video of this name, which is the
 * first line's with the number in it? Then the numbers belong to the names. */
typedef bool cf_list_has(void *user, const char *name);

/* n_classes: labels are 0 .. n_classes - 1; 0: any from 0 on. `has` may be NULL. CF_EFORMAT for a
 * line that is none, CF_EINVAL for a label outside. A list may be empty. */
cf_status cf_list_open(cf_list **out, const char *path, size_t n_classes, cf_list_has *has,
                       void *user);
/* The same of a text in memory; `path` stands in messages. */
cf_status cf_list_parse(cf_list **out, const char *text, size_t n, const char *path,
                        size_t n_classes, cf_list_has *has, void *user);
void cf_list_free(cf_list *l); /* NULL is fine */
const char *cf_list_path(const cf_list *l);
size_t cf_list_size(const cf_list *l);
cf_list_entry cf_list_get(const cf_list *l, size_t i);

#endif
