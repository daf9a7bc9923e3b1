/* weights: named tensors, whatever container they come in and whatever names they carry.
 *
 * Design
 *  - Opening decides by content, never by name: safetensors, one file or the shards that a
 *    *.index.json lists; archives of PyTorch (zip), sharded too, and TorchScript's; a folder that
 *    holds one of these. Names, types and shapes are known then; numbers are read when asked for.
 *  - A tensor here is one to three parts laid end to end along its first axis, each a strided
 *    window into a storage of the container. So query, key and value become one in_proj_weight and
 *    a transposed matrix its straight self without a copy: renaming is all that a layout is.
 *  - Files are mapped, and numbers widened from the mapping into the caller's buffer. Only records
 *    that somebody deflated are unpacked, one at a time.
 *  - What wraps a state dictionary is taken off: a top level `model`, `state_dict` or
 *    `model_state`, and the prefixes "module." and "_orig_mod." where every name has them.
 *  - Nothing a file says of sizes is believed before it is held against the file, and nothing in a
 *    pickle is executed. Memory, the caller's buffers aside, is at most the file's size + 64 MB.
 *  - Reading is thread-safe: several threads may read tensors of one cf_weights. */
#ifndef CROSSFRAME_WEIGHTS_H
#define CROSSFRAME_WEIGHTS_H

#include "crossframe/safetensors.h"

typedef struct {
    const char *name;  /* borrowed */
    cf_st_dtype dtype; /* of the first part; all are real numbers where they differ */
    size_t rank;
    size_t shape[CF_ST_MAX_RANK];
    size_t n; /* product of the shape */
} cf_weight;

typedef struct cf_weights cf_weights;

/* `path`: a file, or a folder with model.safetensors, model.safetensors.index.json,
 * pytorch_model.bin or pytorch_model.bin.index.json. CF_ENOTFOUND: no such file; CF_EFORMAT:
 * damaged, or nothing that holds tensors; CF_EUNSUPPORTED: PyTorch's format from before 1.6, with
 * the line that converts it, and what is larger than is sensible. Each names file and place. */
cf_status cf_weights_open(cf_weights **out, const char *path);
/* One file's bytes in memory, which must outlive it; `name` stands for the path in messages. No
 * index of shards: those lie beside it on disk. */
cf_status cf_weights_open_memory(cf_weights **out, const void *bytes, size_t n, const char *name);
void cf_weights_close(cf_weights *w); /* NULL is fine */

/* Tells the system that all will be read soon: from a disk, it starts now. */
void cf_weights_will_read(const cf_weights *w);

/* The file; of a folder, the one that was opened in it. */
const char *cf_weights_path(const cf_weights *w);
/* "safetensors", "PyTorch archive", "TorchScript archive"; " in N shards" where there are
 * several. */
const char *cf_weights_container(const cf_weights *w);
size_t cf_weights_count(const cf_weights *w);
const cf_weight *cf_weights_at(const cf_weights *w, size_t i); /* in the order of the file */
const cf_weight *cf_weights_find(const cf_weights *w, const char *name); /* NULL if there is none */
/* CF_ENOTFOUND names file and tensor. */
cf_status cf_weights_get(const cf_weight **out, const cf_weights *w, const char *name);
/* Texts and numbers beside the tensors, as text: __metadata__ of safetensors, the top level of a
 * PyTorch dictionary (epoch, max_accuracy). */
size_t cf_weights_n_metadata(const cf_weights *w);
void cf_weights_metadata_at(const char **key, const char **value, const cf_weights *w, size_t i);
const char *cf_weights_metadata(const cf_weights *w, const char *key); /* NULL if there is none */

bool cf_weight_is_real(const cf_weight *t); /* F32, F16, BF16 or F64 */
/* out[n] = the numbers, widened or rounded to nearest. CF_ESHAPE if the tensor has not n of them,
 * CF_EUNSUPPORTED for whole numbers, CF_EFORMAT for data that fail their checksum. */
cf_status cf_weights_read(cf_real *out, size_t n, const cf_weights *w, const cf_weight *t);

/* ---- layouts --------------------------------------------------------------------------------- */

typedef enum {
    CF_LAYOUT_UNKNOWN,
    CF_LAYOUT_XCLIP,    /* the official X-CLIP's names, which are ours */
    CF_LAYOUT_XCLIP_HF, /* Hugging Face XCLIPModel */
    CF_LAYOUT_CLIP,     /* OpenAI CLIP, open_clip */
    CF_LAYOUT_CLIP_HF,  /* Hugging Face CLIPModel */
    CF_LAYOUT_VIFI,     /* ViFi-CLIP: a CLIP without token embedding */
    CF_LAYOUT_RESNET,   /* a CLIP whose picture side is a ResNet: not supported */
} cf_layout;

/* Told by the names there are, in the order of spec/weight-names.md 1. */
cf_layout cf_weights_layout(const cf_weights *w);
const char *cf_layout_name(cf_layout layout); /* "Hugging Face XCLIPModel" */
/* Renames every tensor to its native name and drops index buffers; what no rule knows keeps its
 * name, so that the model can refuse it. *from (may be NULL) = the layout it had. CF_EUNSUPPORTED:
 * a ResNet; CF_EFORMAT: no CLIP, with the first ten names. */
cf_status cf_weights_to_native(cf_weights *w, cf_layout *from);
/* The layout w had before it was renamed; CF_LAYOUT_UNKNOWN: it was not. */
cf_layout cf_weights_origin(const cf_weights *w);
/* cf_weights_open and cf_weights_to_native, with a line for what is worth knowing: names do not
 * tell whether a CLIP computes QuickGELU, as the model here does, or the exact GELU; a config.json
 * beside a Hugging Face file does, and is held against the shapes. CF_EUNSUPPORTED: it says another
 * activation. Who knows better calls the two functions himself. */
cf_status cf_weights_open_model(cf_weights **out, const char *path);
/* Whether anything beside the names tells that a CLIP computes QuickGELU: OpenAI's archives do, a
 * checkpoint of this program, and what convert wrote of such. */
bool cf_weights_tell_quick_gelu(const cf_weights *w);
/* Adds the tensor `name` of `from`, which must outlive w; replaces w's own. CF_ENOTFOUND. */
cf_status cf_weights_borrow(cf_weights *w, const cf_weights *from, const char *name);
/* Adds a tensor, or replaces w's own of this name, with numbers that w takes over (cf_alloc), also
 * on failure. */
cf_status cf_weights_put(cf_weights *w, const char *name, size_t rank, const size_t *shape,
                         cf_real *numbers);

/* ---- writing --------------------------------------------------------------------------------- */

typedef enum {
    CF_FILE_SAFETENSORS,
    CF_FILE_TORCH, /* a zip archive as torch.save makes it, read with weights_only=True too */
} cf_weights_format;

typedef struct {
    /* XCLIP: native, all there is. CLIP: OpenAI's names, only its tensors. XCLIP_HF, CLIP_HF, VIFI
     * (without token embedding). */
    cf_layout layout;
    cf_weights_format format;
    cf_st_dtype dtype; /* F32, F16 or BF16, rounded to nearest, ties to even */
    /* Kept where the format has room: safetensors' metadata; the top level of a native archive,
     * whose weights are under "model" as the official program wants it. */
    const cf_st_pair *metadata;
    size_t n_metadata;
} cf_export;

/* Writes w, in native names, one tensor in memory at a time. State beside the model (optimizer.*)
 * and CLIP's sizes are left out. CF_EUNSUPPORTED: a tensor the layout has no name for.
 * CF_ENUMERIC: finite numbers that the type cannot hold, with their number and the first tensor.
 * Nothing is left behind by a failure. */
cf_status cf_weights_export(const char *path, const cf_weights *w, const cf_export *e);
/* The folder that Hugging Face's XCLIPModel.from_pretrained reads: model.safetensors, config.json
 * and preprocessor_config.json. All three are complete before the first takes its place. layout
 * and format are not looked at. CF_EUNSUPPORTED: not an X-CLIP with all its parts. */
cf_status cf_weights_export_hf(const char *folder, const cf_weights *w, const cf_export *e);

#endif
