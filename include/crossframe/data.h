/* data: from files to batches. Pictures are H x W x 3 bytes, R,G,B; a batch is float32
 * [b, T, 3, S, S], normalised. Everything random is a function of (seed, epoch, video, purpose),
 * never of thread timing. Sections: picture, pack (spec/packed-dataset.md), tokenizer, sampling and
 * transforms, loader, motion dataset. */
#ifndef CROSSFRAME_DATA_H
#define CROSSFRAME_DATA_H

#include "crossframe/support.h"

/* ---- pictures -------------------------------------------------------------------------------- */

typedef enum { CF_ENCODING_RAW, CF_ENCODING_PNG, CF_ENCODING_JPEG } cf_encoding;

/* A caller-owned picture that grows as needed and is reused: zero-initialise, cf_picture_fini at
 * end. */
typedef struct {
    uint8_t *pixels;                /* height x width x 3 */
    size_t height, width, capacity; /* capacity in bytes */
} cf_picture;
cf_status cf_picture_resize_buffer(cf_picture *p, size_t height, size_t width);
void cf_picture_fini(cf_picture *p);
/* PNG of any colour type and depth, to 8-bit RGB (alpha dropped). `what` names it in errors. After
 * a failure *out is still a valid picture, of undefined content. At most 65535 a side and 2^26
 * pixels. */
cf_status cf_png_decode(cf_picture *out, const uint8_t *bytes, size_t n, const char *what);
/* Fresh bytes in *out (cf_free). level: zlib's 0 .. 9. */
cf_status cf_png_encode(uint8_t **out, size_t *n, const uint8_t *pixels, size_t height,
                        size_t width, int level);
cf_status cf_png_write(const char *path, const uint8_t *pixels, size_t height, size_t width);

/* JPEG, baseline and progressive, grey or colour, to RGB by libjpeg-turbo's exact integer transform
 * at full scale, turned as its EXIF orientation asks. CF_EUNSUPPORTED: CMYK, other than 8 bits,
 * arithmetic coding. Damaged data, also where libjpeg would only warn, is CF_EFORMAT. The rest as
 * for PNG. */
cf_status cf_jpeg_decode(cf_picture *out, const uint8_t *bytes, size_t n, const char *what);
/* Fresh bytes in *out (cf_free). quality: 1 .. 100; chroma at half resolution below 90. */
cf_status cf_jpeg_encode(uint8_t **out, size_t *n, const uint8_t *pixels, size_t height,
                         size_t width, int quality);
/* PNG or JPEG, told by content. CF_EFORMAT: neither. */
cf_status cf_picture_decode(cf_picture *out, const uint8_t *bytes, size_t n, const char *what);

/* ---- media: anything that has frames --------------------------------------------------------- */

/* A video file of any format that FFmpeg's libraries know, a folder of pictures (PNG, JPEG; in the
 * order people count: 2 before 10; if some are called img_NUMBER, only these), one picture, which
 * is a video of one frame, or an HDF5 file whose dataset `video` has such pictures as rows of
 * bytes. Told by content. Frames are numbered as they are decoded from the start, none skipped,
 * none repeated: no seeking. Rotation that the file asks for is done; sizes are those of the
 * pictures as shown, samples taken as square, all frames of one size (else CF_EFORMAT,
 * CF_EUNSUPPORTED in a video file). Damage anywhere on the way to a frame is CF_EFORMAT with the
 * frame, never a concealed picture or a shorter video; a container that promises more frames than
 * there are is not damage. A video file opens no other file. A cf_media is used by one thread at a
 * time; different ones by different threads. FFmpeg's log callback is taken over. */
typedef struct cf_media cf_media;

/* CF_ENOTFOUND, CF_EIO; CF_EFORMAT: nothing with pictures in it (audio alone, an empty file or
 * folder, noise), with FFmpeg's reason; CF_EUNSUPPORTED: a video file in a build without FFmpeg. */
cf_status cf_media_open(cf_media **out, const char *path);
/* The bytes of one file (a member of a tar), which must outlive it. `name` stands for the path. */
cf_status cf_media_open_memory(cf_media **out, const uint8_t *bytes, size_t n, const char *name);
void cf_media_close(cf_media *m); /* NULL is fine */
const char *cf_media_path(const cf_media *m);
double cf_media_fps(const cf_media *m); /* average frames per second; 0: unknown */
/* Threads that decode a video file, from the next read on; 1 at first. The frames are the same. */
void cf_media_set_threads(cf_media *m, int n);
/* Exact number of frames, at least 1. Of a video file the first call decodes it once. CF_EFORMAT:
 * it breaks in the middle, with the frame at which it does. */
cf_status cf_media_count(int64_t *n_frames, cf_media *m);

/* The picture is borrowed for the call. A failure ends the reading and is passed on. */
typedef cf_status cf_media_fn(void *user, int64_t frame, const cf_picture *picture);
/* Hands over the frames frame[0] < frame[1] < ... in order; NULL: all of them. CF_EINVAL: a frame
 * beyond the end, with how many there are. */
cf_status cf_media_read(cf_media *m, const int64_t *frame, size_t n, cf_media_fn *fn, void *user);
/* Inside a cf_media_fn: the file of the picture handed over, as it is (borrowed for the call), so
 * that it need not be encoded anew. False: there is none (a frame of a video file), or the picture
 * was turned when it was decoded. */
bool cf_media_coded(const uint8_t **bytes, size_t *n, cf_encoding *encoding, const cf_media *m);
/* What this build decodes: "FFmpeg 5.1 (libavcodec 59.37)" or "without FFmpeg". */
const char *cf_media_libraries(void);

/* ---- tar ------------------------------------------------------------------------------------- */

/* An uncompressed archive, mapped: ustar, GNU long names, PAX path and size. Its files are indexed
 * once; directories, links and special files are not in the index, of two with one name the later
 * is. Thread-safe after opening. */
typedef struct cf_tar cf_tar;
/* CF_EFORMAT: no tar, or a damaged or cut one, with the byte; CF_EUNSUPPORTED: a compressed one. */
cf_status cf_tar_open(cf_tar **out, const char *path);
void cf_tar_close(cf_tar *t); /* NULL is fine */
const char *cf_tar_path(const cf_tar *t);
size_t cf_tar_size(const cf_tar *t); /* files in it */
/* File i in the order of the names' bytes: its name, without leading "./". All is borrowed. */
const char *cf_tar_get(const uint8_t **bytes, size_t *n, const cf_tar *t, size_t i);
/* By the whole name, leading "./" on either side aside; else by its last part, if one file only
 * is called so. CF_ENOTFOUND; CF_EINVAL: several are. */
cf_status cf_tar_find(const uint8_t **bytes, size_t *n, const cf_tar *t, const char *name);

/* ---- packed dataset -------------------------------------------------------------------------- */

typedef struct cf_pack cf_pack;
typedef struct {
    const char *name; /* borrowed from the pack */
    int64_t first_frame, n_frames;
    int32_t label; /* -1 = unknown */
    int32_t height, width, source_frames;
    float fps;
} cf_pack_video;

/* Opens and validates (spec/packed-dataset.md, "On open"); every refusal names path, row and
 * value. */
cf_status cf_pack_open(cf_pack **out, const char *path);
void cf_pack_free(cf_pack *p);
const char *cf_pack_path(const cf_pack *p);
size_t cf_pack_n_videos(const cf_pack *p);
size_t cf_pack_n_frames(const cf_pack *p);
size_t cf_pack_n_classes(const cf_pack *p);
cf_encoding cf_pack_encoding(const cf_pack *p);
bool cf_pack_is_direct(const cf_pack *p); /* frames are read by pread, without lock */
cf_pack_video cf_pack_video_get(const cf_pack *p, size_t row);
const char *cf_pack_class_name(const cf_pack *p, size_t class_id);
/* Our optional dataset /classes/family int32 [K]: classes of one family are told apart from each
 * other only (the stills of the motion dataset: one family a kind of caption). 0 for all when
 * absent. */
int32_t cf_pack_class_family(const cf_pack *p, size_t class_id);
/* Rows of /splits/NAME, borrowed. CF_ENOTFOUND names the splits there are. */
cf_status cf_pack_split(const int64_t **rows, size_t *n, const cf_pack *p, const char *name);
size_t cf_pack_n_splits(const cf_pack *p);
const char *cf_pack_split_name(const cf_pack *p, size_t i);
/* The stored frame (0 .. n_frames-1) nearest to frame `source` (0 .. source_frames-1) of the
 * original; of two as near the earlier. The same number where all frames are stored: n_frames ==
 * source_frames. */
int64_t cf_pack_stored_frame(const cf_pack *p, size_t row, int64_t source);
/* Frame `frame` (0 .. n_frames-1) of a video, decoded. Thread-safe and without lock where the
 * file's layout allows (pread at the dataset's offset); `scratch` holds the encoded bytes and is
 * reused. */
typedef struct {
    uint8_t *bytes;
    size_t capacity;
} cf_bytes;
void cf_bytes_fini(cf_bytes *b);
cf_status cf_pack_read_frame(cf_picture *out, cf_bytes *scratch, const cf_pack *p, size_t row,
                             int64_t frame);

typedef struct {
    const char *dataset; /* attribute; may be NULL */
    cf_encoding encoding;
    int png_level;                 /* zlib level of png frames */
    int quality;                   /* of jpeg frames, 1 .. 100; 0 = they all come encoded */
    int short_side;                /* attribute; 0 = as it came */
    const char *const *class_name; /* [n_classes] */
    const int32_t *class_family;   /* [n_classes] or NULL */
    size_t n_classes;
} cf_pack_options;
typedef struct cf_pack_writer cf_pack_writer;
/* Writes PATH.tmp, renamed to PATH by commit. Frame bytes are streamed: memory does not grow with
 * them. */
cf_status cf_pack_writer_new(cf_pack_writer **out, const char *path,
                             const cf_pack_options *options);
/* One video after the other: begin, its frames, end. label -1 = unknown, otherwise < n_classes.
 * After a failure of begin or end, or a drop, the pack is as if the video had not been begun; after
 * a failure of a frame the video lacks that frame and can still be dropped. CF_EINVAL: what the
 * reader would refuse. */
cf_status cf_pack_writer_begin(cf_pack_writer *w, const char *name, int32_t label, float fps);
/* The next frame, encoded here; all frames of a video have one size. source: its number in the
 * original video, rising. */
cf_status cf_pack_writer_frame(cf_pack_writer *w, const uint8_t *pixels, size_t height,
                               size_t width, int32_t source);
/* The same of a JPEG or PNG file's bytes, kept as they are. They must be of the pack's encoding and
 * of this size as shown; they are looked through, not decoded. */
cf_status cf_pack_writer_coded(cf_pack_writer *w, const uint8_t *bytes, size_t n, size_t height,
                               size_t width, int32_t source);
/* source_frames: how many the original has; more than were added where it was thinned. */
cf_status cf_pack_writer_end(cf_pack_writer *w, int32_t source_frames);
void cf_pack_writer_drop(cf_pack_writer *w); /* none begun is fine */
/* A whole video at once. pixels: n_frames x height x width x 3. */
cf_status cf_pack_writer_add(cf_pack_writer *w, const char *name, int32_t label, float fps,
                             const uint8_t *pixels, size_t n_frames, size_t height, size_t width);
cf_status cf_pack_writer_split(cf_pack_writer *w, const char *name, const int64_t *rows, size_t n);
cf_status cf_pack_writer_commit(cf_pack_writer *w); /* frees w in any case */
void cf_pack_writer_abort(cf_pack_writer *w);       /* removes the temporary file; NULL is fine */

/* ---- tokenizer ------------------------------------------------------------------------------- */

typedef struct cf_tokenizer cf_tokenizer;
/* CLIP's byte-pair encoding, spec 10.2 and 10.3. Text is repaired as CLIP's is, HTML's references
 * included, as far as single characters go: ligatures, width, straight quotes, controls, NFC. Out
 * is the undoing of wrongly decoded UTF-8: such a text is taken as it stands, and logged once.
 *
 * A vocabulary is told by its content: bpe_simple_vocab_16e6.txt.gz (merges 1..48894 used when the
 * file has that many, otherwise all), a merges.txt with or without its header line, or Hugging
 * Face's vocab.json (merges from the merges.txt beside it, or found again) or tokenizer.json; all
 * may be gzipped. Vocabulary size = 512 + merges + 2; the last two ids are start and end of text.
 * CF_EFORMAT names file and line or token. Thread-safe. */
cf_status cf_tokenizer_open(cf_tokenizer **out, const char *path);
void cf_tokenizer_free(cf_tokenizer *t);
size_t cf_tokenizer_vocabulary(const cf_tokenizer *t);
uint64_t cf_tokenizer_hash(const cf_tokenizer *t); /* of the merges: part of the text cache's key */
/* ids of one text with start and end, into out[max]; *n = how many. CF_EINVAL names a text that
 * needs more than max (the text tower's context), or holds a word of more than 16 KB. */
cf_status cf_tokenize(int32_t *out, size_t *n, size_t max, const cf_tokenizer *t, const char *text);
/* The same, but a text that needs more is cut: its first max - 1 ids and the end. max >= 2. */
cf_status cf_tokenize_cut(int32_t *out, size_t *n, size_t max, const cf_tokenizer *t,
                          const char *text);
/* A whole table [n_texts, context], each row padded with 0. */
cf_status cf_tokenize_table(int32_t *out, const cf_tokenizer *t, const char *const *texts,
                            size_t n_texts, size_t context);
/* Learns a vocabulary from texts: *out is the text of a merges.txt (cf_free), at most max_merges
 * lines after the header, fewer when every word has become one token. */
cf_status cf_bpe_learn(char **out, const char *const *texts, size_t n_texts, size_t max_merges);

/* ---- sampling and transforms: spec/data-and-recipe.md 3, 4, 6 -------------------------------- */

typedef enum { CF_SAMPLING_SPARSE, CF_SAMPLING_DENSE } cf_sampling;
typedef enum { CF_VIEWS_DETERMINISTIC, CF_VIEWS_RANDOM } cf_view_sampling; /* Q6 */
typedef enum { CF_SHORT_LOOP, CF_SHORT_CLAMP } cf_short_videos;            /* Q5 */
/* T frame indices of a video of n frames (n >= 1), training manner (3.1; rng draws the offsets). */
void cf_sample_train(int64_t *index, size_t T, size_t n, cf_sampling mode, cf_rng *rng);
/* Deterministic indices (3.1 test mode) of view `view` of `views`: 0 of 1 is the published centre,
 * more views are shifted evenly inside the segments (dense: over the places where the window
 * fits). */
void cf_sample_test(int64_t *index, size_t T, size_t n, cf_sampling mode, size_t view,
                    size_t views);

typedef struct {
    size_t size;           /* S */
    bool multi_scale_crop; /* AUG.MULTI_SCALE_CROP; false: short side to S and centre crop, also in
                              * the one-crop test (true: test brings it to floor(8 S / 7) first) */
    double flip;           /* AUG.FLIP: probability */
    double color_jitter;   /* AUG.COLOR_JITTER: probability per clip */
    double gray_scale;     /* AUG.GRAY_SCALE: probability per clip */
} cf_augment;

/* ---- dataset and loader ---------------------------------------------------------------------- */

/* Whether the path is a pack: by its name, or HDF5's signature. */
bool cf_path_is_pack(const char *path);

/* A chosen, ordered part of a source of videos, with labels. `file` (DATA.TRAIN_FILE, VAL_FILE) is
 * packs, or a split of them behind '#' ("all.h5#test1"), and `root` is not used; or a list of
 * `path label` lines, and `root` (DATA.ROOT) says where the videos are: packs (rows are found by
 * name), a folder of video files and folders of pictures, an uncompressed tar. Packs are: one file;
 * several, "a.h5,b.h5" or a pattern; a folder of .h5 files; a text file of paths to packs. Their
 * classes must be the same; their splits are joined. */
typedef struct cf_dataset cf_dataset;
/* CF_ENOTFOUND: videos of the list that are not in the source, with how many and the first. */
cf_status cf_dataset_open(cf_dataset **out, const char *file, const char *root);
/* The same, but such videos are told in one warning and left to fail when they are read. */
cf_status cf_dataset_open_partial(cf_dataset **out, const char *file, const char *root);
void cf_dataset_free(cf_dataset *d);
size_t cf_dataset_size(const cf_dataset *d);
size_t cf_dataset_n_classes(const cf_dataset *d);
/* "" where the source knows no names: all but packs. */
const char *cf_dataset_class_name(const cf_dataset *d, size_t class_id);
int32_t cf_dataset_class_family(const cf_dataset *d, size_t class_id);
int32_t cf_dataset_label(const cf_dataset *d, size_t i);
const char *cf_dataset_name(const cf_dataset *d, size_t i);
const char *cf_dataset_path(const cf_dataset *d);   /* as given, for messages */
const char *cf_dataset_source(const cf_dataset *d); /* where the videos come from, as text */
bool cf_dataset_is_list(const cf_dataset *d); /* names and labels are a list's, not a pack's */
bool cf_dataset_is_packed(const cf_dataset *d);

/* The videos of a dataset, read by one thread with its own handles and buffers; different readers
 * at the same time need no lock. It holds one video open at most. */
typedef struct cf_video_reader cf_video_reader;
cf_status cf_video_reader_new(cf_video_reader **out, const cf_dataset *d);
void cf_video_reader_free(cf_video_reader *r); /* NULL is fine */
/* Turns to video i. *n_frames: their exact number, on which sampling is computed; of the original
 * where a pack holds a part of them. A video file is decoded for it once, by whoever opens it
 * first; the dataset remembers the number. */
cf_status cf_video_reader_open(int64_t *n_frames, cf_video_reader *r, size_t i);
/* Frames frame[0] < frame[1] < ... of the open video, as cf_media_read. Of a pack that holds a part
 * of the frames, each time the nearest stored one. */
cf_status cf_video_reader_read(cf_video_reader *r, const int64_t *frame, size_t n, cf_media_fn *fn,
                               void *user);

/* What becomes of a video that cannot be read. SKIP: in training another video of its class takes
 * its place, chosen by (seed, epoch, position); in a test it is left out and counted. */
typedef enum { CF_ON_ERROR_STOP, CF_ON_ERROR_SKIP } cf_on_error;

typedef struct {
    size_t T, batch;    /* frames a clip; videos a micro-batch */
    cf_augment augment; /* size and multi_scale_crop in every mode, the rest in training only */
    cf_sampling sampling;
    cf_view_sampling view_sampling; /* random: tests of several clips draw each as in training */
    cf_short_videos short_videos;   /* frames beyond the end: from the start again, or the last */
    bool training; /* shuffled, augmented, last incomplete batch dropped; else every video once */
    bool shuffle;  /* training only: DATA.SHUFFLE */
    double label_smooth, mixup, cutmix, mix_switch; /* training only: spec 6 */
    size_t clips, crops;                            /* test views: NUM_CLIP x NUM_CROP (1 or 3) */
    uint64_t seed;
    int workers;      /* decoding threads; 0 = automatic */
    size_t n_classes; /* K: columns of target */
    cf_on_error on_error;
} cf_loader_options;

/* The frames [T] of one view of a video of n frames: in training that of (seed, epoch, video), in a
 * test number `view` of o->clips, where the epoch does not count. */
void cf_sample_view(int64_t *index, size_t n, const cf_loader_options *o, uint32_t epoch,
                    size_t view, uint64_t video);

/* One micro-batch, owned by the loader until the next cf_loader_next. Classes of a batch: when the
 * dataset has families, all videos of a training batch are of one family and `class_id` lists that
 * family's classes; target has one column for each. Otherwise class_id is 0 .. K-1. */
typedef struct {
    const float *video;      /* [n, views * T, 3, S, S]; views = 1 in training; order: spec 4.11 */
    const float *target;     /* [n, n_columns], rows sum to 1; NULL when not training */
    const int32_t *class_id; /* [n_columns] */
    size_t n_columns;
    const int64_t *index; /* [n] positions in the dataset, of the videos that are shown */
    const int64_t *place; /* [n] of those whose place they take; the same, but for replaced ones */
    const int32_t *label; /* [n] class ids */
    size_t n, views, T, size;
} cf_batch;

typedef struct cf_loader cf_loader;
cf_status cf_loader_new(cf_loader **out, const cf_dataset *d, const cf_loader_options *o);
/* What a loader would have, without making it. d NULL: there is no dataset yet. */
typedef struct {
    size_t batches; /* micro-batches of an epoch; 0 without dataset */
    size_t columns; /* most classes of a batch */
    size_t bytes;   /* of its batches and its threads' buffers */
} cf_loader_size;
cf_status cf_loader_measure(cf_loader_size *out, const cf_dataset *d, const cf_loader_options *o);
void cf_loader_free(cf_loader *l);
size_t cf_loader_batches(const cf_loader *l); /* micro-batches of an epoch (or of one test pass) */
/* Starts (again) at micro-batch `first` of `epoch`; prefetching begins. */
cf_status cf_loader_start(cf_loader *l, uint32_t epoch, size_t first);
/* *out = the next micro-batch, NULL after the last one. A video that cannot be read: a failure with
 * its name (with CF_ON_ERROR_SKIP: when no other of its class can, or memory ends); the call after
 * it goes on with the next micro-batch. A skipped video is warned of once. */
cf_status cf_loader_next(const cf_batch **out, cf_loader *l);
/* Videos of the batches since last asked that were replaced (training) or left out (test). */
size_t cf_loader_skipped(cf_loader *l);
double cf_loader_waited_s(cf_loader *l); /* seconds cf_loader_next has waited since last asked */

/* ---- views of single videos ------------------------------------------------------------------ */

/* The views that a test would take of a video, for videos that come one by one; the same bits. */
typedef struct {
    size_t T, size, clips, crops; /* crops: 1 or 3 */
    cf_sampling sampling;
    cf_short_videos short_videos;
    bool multi_scale_crop; /* as in cf_augment */
} cf_view_options;
/* The buffers of one thread. */
typedef struct cf_viewer cf_viewer;
cf_status cf_viewer_new(cf_viewer **out, const cf_view_options *o);
void cf_viewer_free(cf_viewer *v); /* NULL is fine */
/* Floats of all views of a video: clips * crops * T * 3 * size * size. */
size_t cf_viewer_floats(const cf_viewer *v);
/* out [clips * crops * T, 3, size, size], order: spec 4.11. CF_EFORMAT: a picture of another size
 * than the first. */
cf_status cf_viewer_media(float *out, cf_viewer *v, cf_media *m);
/* Video i of a dataset. */
cf_status cf_viewer_dataset(float *out, cf_viewer *v, const cf_dataset *d, size_t i);

#endif
