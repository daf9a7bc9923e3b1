/* h5_write: datasets and attributes of a file under cf_h5_create.
 *
 * Types are little-endian whatever the machine, texts variable-length UTF-8, arrays contiguous. Any
 * failure marks the file: it can then only be closed, never committed. */
#include "support/h5_internal.h"

#include <string.h>

static cf_status write_failed(cf_h5 *f, const char *object)
{
    f->failed = true;
    return CF_FAIL(CF_EIO, "%s: cannot write %s: %s", f->path, object,
                   f->sink.error ? strerror(f->sink.error) : cf_h5_why());
}

/* HDF5 is not told of a failed write (h5_driver.c): ask the sink after each. */
static cf_status written(cf_h5 *f, const char *object)
{
    return f->sink.error ? write_failed(f, object) : CF_OK;
}

static hid_t file_type(cf_h5_number t)
{
    return t == CF_H5_F32   ? H5T_IEEE_F32LE
           : t == CF_H5_F64 ? H5T_IEEE_F64LE
           : t == CF_H5_I32 ? H5T_STD_I32LE
                            : H5T_STD_I64LE;
}

static hid_t text_type(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

/* A new dataset; groups on the way to it are made. reserved: it has its place in the file at once,
 * and nothing is written there. */
static cf_status dataset_create(hid_t *out, cf_h5 *f, const char *path, hid_t type, hid_t space,
                                bool reserved)
{
    cf_status status = CF_OK;
    hid_t links = H5Pcreate(H5P_LINK_CREATE), create = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    H5Pset_obj_track_times(create, 0);
    if (reserved) {
        H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
        H5Pset_fill_time(create, H5D_FILL_TIME_NEVER);
    }
    hid_t id = H5Dcreate2(f->file, path, type, space, links, create, H5P_DEFAULT);
    if (id < 0)
        status = write_failed(f, path); /* now: closing the lists forgets the reason */
    else
        *out = id;
    H5Pclose(create);
    H5Pclose(links);
    return status;
}

static cf_status write_array(cf_h5 *f, const char *path, hid_t stored, hid_t memory, const void *v,
                             int rank, const size_t *dim)
{
    CF_ASSERT(f->temporary && rank >= 0 && rank <= 5);
    hsize_t size[5], n = 1;
    for (int i = 0; i < rank; i++) n *= size[i] = dim[i];
    hid_t space = rank ? H5Screate_simple(rank, size, NULL) : H5Screate(H5S_SCALAR);
    hid_t id;
    cf_status status = dataset_create(&id, f, path, stored, space, false);
    H5Sclose(space);
    if (status != CF_OK) return status;
    if (n > 0 && H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, v) < 0)
        status = write_failed(f, path);
    if (H5Dclose(id) < 0 && status == CF_OK) status = write_failed(f, path);
    return status == CF_OK ? written(f, path) : status;
}

static cf_status write_numbers(cf_h5 *f, const char *path, cf_h5_number t, const void *v, int rank,
                               const size_t *dim)
{
    cf_h5_lock();
    cf_status status = write_array(f, path, file_type(t), cf_h5_memory_type(t), v, rank, dim);
    cf_h5_unlock();
    return status;
}

cf_status cf_h5_write_f32(cf_h5 *f, const char *path, const float *v, int rank, const size_t *dim)
{
    return write_numbers(f, path, CF_H5_F32, v, rank, dim);
}

cf_status cf_h5_write_i32(cf_h5 *f, const char *path, const int32_t *v, int rank, const size_t *dim)
{
    return write_numbers(f, path, CF_H5_I32, v, rank, dim);
}

cf_status cf_h5_write_i64(cf_h5 *f, const char *path, const int64_t *v, int rank, const size_t *dim)
{
    return write_numbers(f, path, CF_H5_I64, v, rank, dim);
}

cf_status cf_h5_write_strings(cf_h5 *f, const char *path, const char *const *v, size_t n)
{
    cf_h5_lock();
    hid_t type = text_type();
    cf_status status = write_array(f, path, type, type, v, 1, &n);
    H5Tclose(type);
    cf_h5_unlock();
    return status;
}

/* ---- groups and attributes ------------------------------------------------------------------- */

cf_status cf_h5_make_group(cf_h5 *f, const char *path)
{
    CF_ASSERT(f->temporary);
    cf_h5_lock();
    cf_status status = CF_OK;
    hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    hid_t id = H5Gcreate2(f->file, path, links, H5P_DEFAULT, H5P_DEFAULT);
    if (id < 0)
        status = write_failed(f, path);
    else
        H5Gclose(id);
    H5Pclose(links);
    cf_h5_unlock();
    return status;
}

/* A new value in place of an old one. */
static cf_status put_attr(cf_h5 *f, const char *object, const char *name, hid_t stored,
                          hid_t memory, const void *value)
{
    CF_ASSERT(f->temporary);
    if (H5Aexists_by_name(f->file, object, name, H5P_DEFAULT) > 0)
        H5Adelete_by_name(f->file, object, name, H5P_DEFAULT);
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t id = H5Acreate_by_name(f->file, object, name, stored, space, H5P_DEFAULT, H5P_DEFAULT,
                                 H5P_DEFAULT);
    cf_status status = CF_OK;
    if (id < 0 || H5Awrite(id, memory, value) < 0) status = write_failed(f, name);
    if (id >= 0) H5Aclose(id);
    H5Sclose(space);
    return status;
}

cf_status cf_h5_put_attr_i64(cf_h5 *f, const char *object, const char *name, int64_t value)
{
    cf_h5_lock();
    cf_status status = put_attr(f, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
    cf_h5_unlock();
    return status;
}

cf_status cf_h5_put_attr_string(cf_h5 *f, const char *object, const char *name, const char *value)
{
    cf_h5_lock();
    hid_t type = text_type();
    cf_status status = put_attr(f, object, name, type, type, &value);
    H5Tclose(type);
    cf_h5_unlock();
    return status;
}

/* ---- room for bytes -------------------------------------------------------------------------- */

cf_status cf_h5_reserve(haddr_t *at, cf_h5 *f, const char *path, size_t total)
{
    hsize_t n = total;
    hid_t id, space = H5Screate_simple(1, &n, NULL);
    cf_status status = dataset_create(&id, f, path, H5T_STD_U8LE, space, true);
    H5Sclose(space);
    if (status != CF_OK) return status;
    haddr_t offset = H5Dget_offset(id);
    if (H5Dclose(id) < 0) return write_failed(f, path);
    *at = offset;
    return written(f, path);
}
