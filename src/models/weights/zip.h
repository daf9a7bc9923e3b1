/* zip: the records of an archive in memory, checked.
 *
 * Design
 *  - libzip reads directory and headers (zip64 too) and unpacks; ZIP_CHECKCONS refuses archives
 *    whose headers contradict each other, and names that are there twice.
 *  - A stored record is lent as it lies in the archive: libzip says where it looked for the first
 *    byte, and the record's CRC-32, taken once, says whether that was right. So reading needs no
 *    copy and no lock. Unpacking a deflated record goes through the one zip_t, under a lock.
 *  - Sizes are held against the archive before they are used: the directory has at most 4 MB; a
 *    deflated record unpacks to at most the archive's size + 64 MB, and all that are asked for to
 *    at most 8 times that size + 64 MB. */
#ifndef CROSSFRAME_MODELS_ZIP_H
#define CROSSFRAME_MODELS_ZIP_H

#include "crossframe/support.h"

typedef struct cf_zip cf_zip;

bool cf_zip_looks_like(const void *bytes, size_t n);
/* bytes[n] have to outlive it; `name` stands for them in messages. CF_EFORMAT: damaged. */
cf_status cf_zip_open(cf_zip **out, const void *bytes, size_t n, const char *name);
void cf_zip_close(cf_zip *z); /* NULL is fine */

/* The folder that all of PyTorch's records are in: the first name up to its slash. Borrowed.
 * CF_EFORMAT: there is none. */
cf_status cf_zip_folder(const char **out, const cf_zip *z);
/* Before a record is read it is asked for by name, folder and slash in front; not thread-safe.
 * Asking again gives the same number. CF_ENOTFOUND; CF_EUNSUPPORTED: encrypted, or packed by other
 * means than deflate; CF_EFORMAT: a size that cannot be. */
cf_status cf_zip_find(size_t *record, cf_zip *z, const char *name);
size_t cf_zip_size(const cf_zip *z, size_t record); /* unpacked */

/* Both by any number of threads. CF_EFORMAT: damaged data; the line names the record only. */
/* *out = the bytes, until close; NULL for a deflated record that was asked for only once: it has
 * to be read. */
cf_status cf_zip_map(const void **out, cf_zip *z, size_t record);
/* Bytes begin .. begin + n. */
cf_status cf_zip_read(void *out, cf_zip *z, size_t record, size_t begin, size_t n);

#endif
