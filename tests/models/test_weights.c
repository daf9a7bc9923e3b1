/* Weights out of every container: files that real PyTorch wrote (tests/golden/make_weights.py),
 * equal to the bit, and ones made here. */
#define FOLDER_FILE "w"
#include "../test_in_folder.h"

#include "crossframe/weights.h"
#include "models/weights/container.h"

#define GOLDEN "tests/golden/weights/"

/* ---- the fill rule of make_weights.py -------------------------------------------------------- */

static cf_real fill(const char *name, size_t i)
{
    size_t sum = 0;
    for (const char *c = name; *c; c++) sum += (unsigned char)*c;
    return (cf_real)((double)((37 * i + sum) % 251) - 125) / 64;
}

static cf_weights *open_golden(const char *name)
{
    char *file = test_path(GOLDEN, name);
    cf_weights *w;
    assert_ok(cf_weights_open(&w, file));
    cf_free(file);
    return w;
}

static cf_real *read_all(const cf_weights *w, const cf_weight *t)
{
    cf_real *got;
    assert_ok(cf_alloc(&got, t->n, sizeof *got));
    assert_ok(cf_weights_read(got, t->n, w, t));
    return got;
}

static void assert_shape(const cf_weight *t, size_t rank, const size_t *shape)
{
    size_t n = 1;
    assert_int_equal(t->rank, rank);
    for (size_t i = 0; i < rank; n *= shape[i++]) assert_int_equal(t->shape[i], shape[i]);
    assert_int_equal(t->n, n);
}

/* Name, type and shape, and each number by the rule. */
static void assert_filled(const cf_weights *w, const char *name, cf_st_dtype dtype, size_t rank,
                          const size_t *shape)
{
    const cf_weight *t;
    assert_ok(cf_weights_get(&t, w, name));
    assert_int_equal(t->dtype, dtype);
    assert_shape(t, rank, shape);
    cf_real *got = read_all(w, t);
    for (size_t i = 0; i < t->n; i++) {
        cf_real want = fill(name, i);
        if (memcmp(&got[i], &want, sizeof want) != 0)
            fail_msg("%s[%zu] = %g, not %g", name, i, (double)got[i], (double)want);
    }
    cf_free(got);
}

#define SHAPE(...)                                                                                 \
    sizeof((size_t[]){ __VA_ARGS__ }) / sizeof(size_t), (const size_t[]) { __VA_ARGS__ }

/* SHAPES of make_weights.py. */
static void assert_state(const cf_weights *w)
{
    static const struct {
        const char *name;
        size_t rank, shape[4];
    } all[] = {
        { "a.weight", 2, { 3, 4 } }, { "a.bias", 1, { 4 } },        { "scale", 0, { 0 } },
        { "empty", 2, { 0, 5 } },    { "conv", 4, { 2, 3, 2, 2 } },
    };
    assert_int_equal(cf_weights_count(w), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(cf_weights_at(w, i)->name, all[i].name);
        assert_filled(w, all[i].name, CF_ST_F32, all[i].rank, all[i].shape);
    }
}

/* ---- what PyTorch writes --------------------------------------------------------------------- */

static void state_dictionaries(void **state)
{
    (void)state;
    static const char *const files[][2] = {
        { "plain.pt", "PyTorch archive" },
        { "deflated.pt", "PyTorch archive" },
        { "little.pt", "PyTorch archive" },
        { "checkpoint.pth", "PyTorch archive" },
        { "protocol3.pt", "PyTorch archive" },
        { "protocol4.pt", "PyTorch archive" },
        { "protocol5.pt", "PyTorch archive" },
        { "module.pt", "PyTorch archive" },
        { "compiled.pt", "PyTorch archive" },
        { "shards", "PyTorch archive in 2 shards" },
        { "shards/pytorch_model.bin.index.json", "PyTorch archive in 2 shards" },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cf_weights *w = open_golden(files[i][0]);
        assert_state(w);
        assert_string_equal(cf_weights_container(w), files[i][1]);
        cf_weights_close(w);
    }
}

/* safetensors come in the order of their data; the empty tensor is before what starts there. */
static void prefixes_come_off_safetensors_too(void **state)
{
    (void)state;
    cf_weights *w = open_golden("module.safetensors");
    assert_int_equal(cf_weights_count(w), 5);
    assert_filled(w, "a.weight", CF_ST_F32, SHAPE(3, 4));
    assert_filled(w, "conv", CF_ST_F32, SHAPE(2, 3, 2, 2));
    assert_string_equal(cf_weights_container(w), "safetensors");
    assert_string_equal(cf_weights_metadata(w, "format"), "pt");
    cf_weights_close(w);
}

static void a_checkpoint_tells_its_numbers(void **state)
{
    (void)state;
    static const char *const files[] = { "checkpoint.pth", "protocol3.pt", "protocol4.pt",
                                         "protocol5.pt" };
    for (size_t i = 0; i < 4; i++) {
        cf_weights *w = open_golden(files[i]);
        assert_int_equal(cf_weights_n_metadata(w), 4);
        assert_string_equal(cf_weights_metadata(w, "max_accuracy"), "80.4");
        assert_string_equal(cf_weights_metadata(w, "epoch"), "12");
        assert_string_equal(cf_weights_metadata(w, "negative"), "-5");
        assert_string_equal(cf_weights_metadata(w, "arch"), "ViT-B/32");
        assert_null(cf_weights_metadata(w, "config"));
        cf_weights_close(w);
    }
}

static void modules_of_torchscript_are_walked(void **state)
{
    (void)state;
    cf_weights *w = open_golden("script.pt");
    const cf_weight *t;
    assert_string_equal(cf_weights_container(w), "TorchScript archive");
    assert_int_equal(cf_weights_count(w), 8);
    assert_filled(w, "visual.blocks.0.weight", CF_ST_F16, SHAPE(3, 2));
    assert_filled(w, "visual.blocks.0.bias", CF_ST_F32, SHAPE(3));
    assert_filled(w, "visual.blocks.1.weight", CF_ST_F16, SHAPE(3, 2));
    assert_filled(w, "visual.blocks.1.bias", CF_ST_F32, SHAPE(3));
    assert_filled(w, "visual.proj", CF_ST_F16, SHAPE(2, 3));
    assert_filled(w, "logit_scale", CF_ST_F32, 0, NULL);
    assert_ok(cf_weights_get(&t, w, "input_resolution"));
    assert_int_equal(t->dtype, CF_ST_I64);
    assert_int_equal(t->rank, 0);
    cf_real got;
    assert_fails(cf_weights_read(&got, 1, w, t), CF_EUNSUPPORTED, "input_resolution holds I64");
    assert_string_equal(cf_weights_metadata(w, "context_length"), "77");
    cf_weights_close(w);
}

static void every_type(void **state)
{
    (void)state;
    cf_weights *w = open_golden("types.pt");
    const cf_weight *t;
    assert_int_equal(cf_weights_count(w), 13);
    assert_filled(w, "f32", CF_ST_F32, SHAPE(2, 3));
    assert_filled(w, "f16", CF_ST_F16, SHAPE(2, 3));
    assert_filled(w, "bf16", CF_ST_BF16, SHAPE(2, 3));
    assert_filled(w, "f64", CF_ST_F64, SHAPE(2, 3));
    assert_filled(w, "parameter", CF_ST_F32, SHAPE(5));
    static const struct {
        const char *name;
        cf_st_dtype dtype;
    } whole[] = { { "i64", CF_ST_I64 }, { "i32", CF_ST_I32 }, { "i16", CF_ST_I16 },
                  { "i8", CF_ST_I8 },   { "u8", CF_ST_U8 },   { "bool", CF_ST_BOOL } };
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        assert_ok(cf_weights_get(&t, w, whole[i].name));
        assert_int_equal(t->dtype, whole[i].dtype);
        assert_false(cf_weight_is_real(t));
    }
    assert_ok(cf_weights_get(&t, w, "rounded"));
    cf_real *got = read_all(w, t);
    for (size_t i = 0; i < 7; i++) assert_true(got[i] == (cf_real)((double)i / 10));
    cf_free(got);
    const cf_real halves[] = { 0,     -(cf_real)0,       (cf_real)0x1p-24,  -(cf_real)0x1p-15,
                               65504, (cf_real)INFINITY, -(cf_real)INFINITY };
    assert_ok(cf_weights_get(&t, w, "halves"));
    got = read_all(w, t);
    assert_memory_equal(got, halves, sizeof halves);
    cf_free(got);
    assert_string_equal(cf_weights_metadata(w, "text"), "some \xc3\xa9");
    cf_weights_close(w);
}

static void types_without_a_storage_of_their_own(void **state)
{
    (void)state;
    cf_weights *w = open_golden("v3.pt");
    assert_filled(w, "h", CF_ST_F16, SHAPE(6));
    assert_filled(w, "f", CF_ST_F32, SHAPE(2, 2));
    cf_weights_close(w);
}

/* Element (i, j, k) of the tensor is element first + i * s0 + j * s1 + k * s2 of `base`. */
static void assert_view(const cf_weights *w, const char *name, size_t first, const size_t s[3],
                        size_t rank, const size_t *shape)
{
    const cf_weight *t;
    assert_ok(cf_weights_get(&t, w, name));
    assert_shape(t, rank, shape);
    size_t d[3] = { 1, 1, 1 }, n = 0;
    for (size_t i = 0; i < rank; i++) d[3 - rank + i] = shape[i];
    cf_real *got = read_all(w, t);
    for (size_t i = 0; i < d[0]; i++)
        for (size_t j = 0; j < d[1]; j++)
            for (size_t k = 0; k < d[2]; k++)
                assert_true(got[n++] == fill("base", first + i * s[0] + j * s[1] + k * s[2]));
    cf_free(got);
}

#define STEPS(a, b, c)                                                                             \
    (const size_t[]) { a, b, c }
static void views_share_a_storage(void **state)
{
    (void)state;
    static const char *const files[] = { "views.pt", "deflated-views.pt" };
    for (size_t i = 0; i < 2; i++) {
        cf_weights *w = open_golden(files[i]);
        assert_int_equal(cf_weights_count(w), 11);
        assert_view(w, "base", 0, STEPS(0, 8, 1), SHAPE(6, 8));
        assert_view(w, "transposed", 0, STEPS(0, 1, 8), SHAPE(8, 6));
        assert_view(w, "rows", 16, STEPS(0, 8, 1), SHAPE(2, 8));
        assert_view(w, "columns", 1, STEPS(0, 8, 3), SHAPE(6, 3));
        assert_view(w, "flat", 5, STEPS(0, 0, 1), SHAPE(12));
        assert_view(w, "one", 28, STEPS(0, 0, 0), 0, NULL);
        assert_view(w, "none", 0, STEPS(0, 8, 1), SHAPE(0, 8));
        assert_view(w, "repeated", 8, STEPS(0, 0, 1), SHAPE(3, 8));
        assert_view(w, "turned", 0, STEPS(1, 24, 8), SHAPE(8, 2, 3));
        assert_view(w, "square", 0, STEPS(0, 8, 0), SHAPE(4, 4));
        assert_view(w, "half", 0, STEPS(0, 16, 2), SHAPE(3, 4));
        cf_weights_close(w);
    }
}

static void refusals_are_clear(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        cf_status code;
        const char *line;
    } cases[] = {
        { "old.pt", CF_EUNSUPPORTED, "torch.save(torch.load(" },
        { "big.pt", CF_EUNSUPPORTED, "big-endian" },
        { "whole-model.pt", CF_EFORMAT,
          "holds an object torch.nn.modules.linear.Linear, not a dictionary of tensors" },
        { "complex.pt", CF_EUNSUPPORTED, "tensor c is kept in a ComplexFloatStorage" },
        { "nothing.pt", CF_ENOTFOUND, "cannot open tests/golden/weights/nothing.pt" },
        { "..", CF_ENOTFOUND, "has no model.safetensors, model.safetensors.index.json" },
        { "../micro.h5", CF_EFORMAT, "micro.h5 is not a safetensors file" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_weights *w;
        char *file = test_path(GOLDEN, cases[i].file);
        assert_fails(cf_weights_open(&w, file), cases[i].code, cases[i].line);
        cf_free(file);
    }
}

/* ---- safetensors ----------------------------------------------------------------------------- */

static void kinds_are_widened(void **state)
{
    (void)state;
    const uint16_t half[] = { 0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x7c00, 0xfc00, 0x7e00,
                              0x8000, 0x0400, 0x03ff, 0xfbff, 0x0000, 0x3555, 0x8400, 0x0200 };
    const float half_value[] = { 1,     -2,          0x1p-24f,     -0x1.ff8p-15f,
                                 65504, INFINITY,    -INFINITY,    NAN,
                                 -0.0f, 0x1p-14f,    0x1.ff8p-15f, -65504,
                                 0,     0x1.554p-2f, -0x1p-14f,    0x1p-15f };
    const uint16_t brain[] = { 0x3f80, 0xc040, 0x0001, 0x7f80, 0xff7f };
    const float brain_value[] = { 1, -3, 0x1p-133f, INFINITY, -0x1.fep127f };
    const cf_st_tensor tensors[] = {
        { .name = "h", .dtype = CF_ST_F16, .rank = 1, .shape = { 16 }, .data = half },
        { .name = "b", .dtype = CF_ST_BF16, .rank = 1, .shape = { 5 }, .data = brain },
        { .name = "i", .dtype = CF_ST_I64, .rank = 0, .data = "12345678" },
    };
    assert_ok(cf_st_write(path, tensors, 3, NULL, 0));
    cf_weights *w;
    assert_ok(cf_weights_open(&w, path));
    cf_real got[16];
    assert_ok(cf_weights_read(got, 16, w, cf_weights_find(w, "h")));
    for (size_t i = 0; i < 16; i++) {
        cf_real want = (cf_real)half_value[i];
        if (isnan(half_value[i]))
            assert_true(isnan(got[i]));
        else
            assert_memory_equal(&got[i], &want, sizeof want);
    }
    assert_ok(cf_weights_read(got, 5, w, cf_weights_find(w, "b")));
    for (size_t i = 0; i < 5; i++) assert_true(got[i] == (cf_real)brain_value[i]);
    assert_fails(cf_weights_read(got, 1, w, cf_weights_find(w, "i")), CF_EUNSUPPORTED,
                 "tensor i holds I64");
    assert_fails(cf_weights_read(got, 4, w, cf_weights_find(w, "b")), CF_ESHAPE,
                 "tensor b has 5 numbers, wanted 4");
    const cf_weight *t;
    assert_fails(cf_weights_get(&t, w, "x"), CF_ENOTFOUND, "has no tensor x");
    cf_weights_close(w);
}

/* Every half there is, against its value written down another way. */
static void each_half(void **state)
{
    (void)state;
    uint16_t half[65536];
    cf_real got[65536];
    for (size_t i = 0; i < 65536; i++) half[i] = (uint16_t)i;
    cf_widen(got, half, CF_ST_F16, 0, 1, 65536);
    for (size_t i = 0; i < 65536; i++) {
        int exponent = (int)(i >> 10 & 31), fraction = (int)(i & 1023);
        double want = exponent == 0    ? ldexp(fraction, -24)
                      : exponent == 31 ? (fraction ? NAN : INFINITY)
                                       : ldexp(1024 + fraction, exponent - 25);
        if (isnan(want) ? !isnan(got[i]) : got[i] != (cf_real)(i >> 15 ? -want : want))
            fail_msg("0x%04zx is read as %g", i, (double)got[i]);
        if (!isnan(want)) assert_int_equal(signbit(got[i]) != 0, i >> 15);
    }
}

static void data_at_odd_bytes(void **state)
{
    (void)state;
    static const char header[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    const float value[2] = { 1.5f, -3 };
    uint64_t length = strlen(header);
    for (size_t shift = 0; shift < 4; shift++) {
        char bytes[128];
        memcpy(bytes + shift, &length, 8);
        memcpy(bytes + shift + 8, header, length);
        memcpy(bytes + shift + 8 + length, value, 8);
        cf_weights *w;
        cf_real got[2];
        assert_ok(cf_weights_open_memory(&w, bytes + shift, 16 + length, "x"));
        assert_ok(cf_weights_read(got, 2, w, cf_weights_find(w, "a")));
        assert_true(got[0] == (cf_real)1.5 && got[1] == -3);
        cf_weights_close(w);
    }
}

/* ---- shards ---------------------------------------------------------------------------------- */

static void write_text(const char *name, const char *text)
{
    char *file = test_path(folder, name);
    assert_ok(cf_file_write(file, text, strlen(text)));
    cf_free(file);
}

static void write_shard(const char *name, const char *tensor, float value)
{
    char *file = test_path(folder, name);
    const cf_st_tensor t = { .name = tensor, .dtype = CF_ST_F32, .data = &value };
    const cf_st_pair pair = { "format", "pt" };
    assert_ok(cf_st_write(file, &t, 1, &pair, 1));
    cf_free(file);
}

#define INDEX "model.safetensors.index.json"

static void sharded_safetensors(void **state)
{
    (void)state;
    cf_weights *w;
    cf_real got;
    write_shard("s1", "module.a", 1);
    write_shard("s2", "module.b", 2);
    write_text(INDEX, "{\"metadata\":{},\"weight_map\":{\"module.b\":\"s2\",\"module.a\":\"s1\"}}");
    assert_ok(cf_weights_open(&w, folder));
    assert_string_equal(cf_weights_container(w), "safetensors in 2 shards");
    assert_non_null(strstr(cf_weights_path(w), INDEX));
    assert_int_equal(cf_weights_count(w), 2);
    assert_int_equal(cf_weights_n_metadata(w), 1);
    assert_ok(cf_weights_read(&got, 1, w, cf_weights_find(w, "a")));
    assert_true(got == 1);
    assert_ok(cf_weights_read(&got, 1, w, cf_weights_find(w, "b")));
    assert_true(got == 2);
    cf_weights_will_read(w);
    cf_weights_close(w);
}

static void wrong_indices_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *line;
        cf_status code;
    } cases[] = {
        { "{\"weight_map\":{\"a\":\"s2\"}}", "tensor a is not in s2", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":\"s1\",\"c\":\"s1\"}}", "tensor c is not in s1", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":\"s3\"}}", "cannot open", CF_ENOTFOUND },
        { "{\"weight_map\":{\"a\":\"../s1\"}}", "no file beside the index", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "no file beside the index", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":\"..\"}}", "no file beside the index", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":\"\"}}", "no file beside the index", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":1}}", "is no text", CF_EFORMAT },
        { "{\"weight_map\":{}}", "no weight_map", CF_EFORMAT },
        { "{\"weight_map\":[1]}", "no weight_map", CF_EFORMAT },
        { "{\"weight_map\":", "no JSON", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":\"" INDEX "\"}}", "is JSON", CF_EFORMAT },
        { "{\"weight_map\":{\"a\":\"s1\",\"b\":\"s1b\"}}", "a is there twice", CF_EFORMAT },
    };
    char *file = test_path(folder, INDEX);
    write_shard("s1", "a", 1);
    write_shard("s1b", "a", 1);
    write_shard("s2", "b", 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_weights *w;
        write_text(INDEX, cases[i].json);
        assert_fails(cf_weights_open(&w, file), cases[i].code, cases[i].line);
    }
    cf_free(file);
}

/* ---- failures -------------------------------------------------------------------------------- */

static cf_status open_and_read(const char *file)
{
    cf_weights *w;
    CF_TRY(cf_weights_open(&w, file));
    cf_status status = CF_OK;
    for (size_t i = 0; i < cf_weights_count(w) && status == CF_OK; i++) {
        cf_real got[64];
        const cf_weight *t = cf_weights_at(w, i);
        if (cf_weight_is_real(t)) status = cf_weights_read(got, t->n, w, t);
    }
    cf_weights_close(w);
    return status;
}

static void every_failed_allocation_is_clean(void **state)
{
    (void)state;
    static const char *const files[] = { "checkpoint.pth", "script.pt", "shards",
                                         "deflated-views.pt", "module.safetensors" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *file = test_path(GOLDEN, files[i]);
        cf_status status = CF_ENOMEM;
        for (size_t n = 1; status != CF_OK; n++) {
            size_t before = cf_memory_stats_get().bytes_now;
            cf_memory_fail_at(n);
            status = open_and_read(file);
            cf_memory_fail_at(0);
            if (status != CF_OK) assert_int_equal(status, CF_ENOMEM);
            assert_int_equal(cf_memory_stats_get().bytes_now, before);
        }
        cf_free(file);
    }
}

/* Each bit of the numbers is under a checksum. */
static void damaged_numbers_are_refused(void **state)
{
    (void)state;
    char *bytes;
    size_t n;
    assert_ok(cf_file_read(&bytes, &n, GOLDEN "plain.pt"));
    const float first = (float)fill("conv", 0);
    char *at = memmem(bytes, n, &first, sizeof first);
    assert_non_null(at);
    at[40] ^= 4;
    assert_ok(cf_file_write(path, bytes, n));
    assert_fails(open_and_read(path), CF_EFORMAT, "tensor conv");
    assert_non_null(strstr(cf_error(), "checksum is wrong"));
    cf_free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(state_dictionaries),
        TEST(prefixes_come_off_safetensors_too),
        TEST(a_checkpoint_tells_its_numbers),
        TEST(modules_of_torchscript_are_walked),
        TEST(every_type),
        TEST(types_without_a_storage_of_their_own),
        TEST(views_share_a_storage),
        TEST(refusals_are_clear),
        TEST(kinds_are_widened),
        TEST(each_half),
        TEST(data_at_odd_bytes),
        TEST(sharded_safetensors),
        TEST(wrong_indices_are_refused),
        TEST(every_failed_allocation_is_clean),
        TEST(damaged_numbers_are_refused),
    };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
