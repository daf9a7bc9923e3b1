/* bench: what is measured is consistent: operations, split, memory, the dumped start, the trace. */
#include "crossframe/bench.h"

#include "crossframe/json.h"
#include "crossframe/safetensors.h"
#include "test_in_folder.h"
#include "xclip_cost.h"

static cf_bench_options small(bool train)
{
    return (cf_bench_options){ .model = { .image = 16,
                                          .patch = 8,
                                          .vision_width = 64,
                                          .vision_layers = 2,
                                          .embed = 64,
                                          .text_width = 64,
                                          .text_layers = 1,
                                          .context = 8,
                                          .vocabulary = 40,
                                          .frames = 3,
                                          .mit_layers = 1,
                                          .prompt_layers = 1,
                                          .prompt_alpha = 0.1 },
                               .batch = 2,
                               .classes = 5,
                               .steps = 3,
                               .train = train };
}

static void counts_what_the_model_costs(void **state)
{
    (void)state;
    cf_bench_result train, infer;
    cf_bench_options o = small(false);
    assert_ok(cf_bench_step(&infer, &o));
    xclip_cost cost = xclip_cost_of(&o.model, o.classes);
    /* the first prompt layer's queries are the same for every video and computed once */
    double once =
        2e-9 * (double)(o.batch - 1) * (double)(o.classes * o.model.embed * o.model.embed);
    double gflop = 2e-9 * cost.multiply_adds * (double)o.batch - once;
    assert_near(infer.gflop, gflop, 1e-6 * gflop);
    o.train = true;
    assert_ok(cf_bench_step(&train, &o));
    assert_true(train.gflop > 2.5 * infer.gflop && train.gflop < 3.5 * infer.gflop);
    assert_near(train.loss, infer.loss, 1e-6);
    assert_int_equal(train.seconds.n, 3);
    assert_true(train.seconds.min <= train.seconds.median);
    assert_true(train.seconds.median <= train.seconds.max);
    assert_int_equal(train.bytes.moments, 2 * train.bytes.gradients);
    assert_true(train.bytes.shared > 0 && infer.bytes.shared == 0);
    assert_true(train.bytes.shared <= train.bytes.activations &&
                train.bytes.shared <= train.bytes.gradients);
    assert_true(infer.bytes.moments == 0 && infer.bytes.backward == 0);
    assert_true(infer.bytes.activations < train.bytes.activations);
    o.model.recompute = true;
    assert_ok(cf_bench_step(&infer, &o));
    assert_true(infer.gflop > train.gflop);
    assert_true(infer.bytes.activations < train.bytes.activations);
}

static void the_split_adds_up(void **state)
{
    (void)state;
    cf_bench_result r;
    cf_bench_options o = small(true);
    double gflop = 0;
    bool gemm = false, optimiser = false;
    assert_ok(cf_bench_step(&r, &o));
    for (size_t i = 0; i < r.n_split; i++) {
        gflop += r.split[i].gflop;
        gemm |= strcmp(r.split[i].family, "gemm") == 0 && r.split[i].gflop > 0;
        optimiser |= strcmp(r.split[i].family, "optimiser") == 0 && r.split[i].seconds > 0;
        assert_true(r.split[i].seconds >= 0);
    }
    assert_true(gemm && optimiser);
    assert_near(gflop, r.gflop, 1e-6 * r.gflop);
}

static void trace_and_dump_can_be_read(void **state)
{
    (void)state;
    char *path = test_path(folder, "trace.json"), *text;
    size_t n;
    cf_bench_result r;
    cf_bench_options o = small(true);
    o.trace = path;
    o.dump = folder;
    assert_ok(cf_bench_step(&r, &o));
    assert_ok(cf_file_read(&text, &n, path));
    cJSON *events = cJSON_ParseWithLength(text, n), *e;
    double gflop = 0;
    size_t backward = 0;
    assert_true(cJSON_IsArray(events) && cJSON_GetArraySize(events) > 40);
    cJSON_ArrayForEach(e, events)
    {
        assert_string_equal(cJSON_GetObjectItem(e, "ph")->valuestring, "X");
        gflop += cJSON_GetObjectItem(cJSON_GetObjectItem(e, "args"), "gflop")->valuedouble;
        backward += strstr(cJSON_GetObjectItem(e, "name")->valuestring, " backward") != NULL;
    }
    assert_near(gflop, r.gflop, 1e-4 * r.gflop);
    assert_true(backward > 20);
    cJSON_Delete(events);
    cf_free(text);
    cf_free(path);

    cf_weights *w;
    cf_xclip_config sizes;
    cf_xclip *m;
    cf_load_counts counts;
    path = test_path(folder, "weights.safetensors");
    assert_ok(cf_weights_open(&w, path));
    assert_ok(cf_xclip_config_from_file(&sizes, w));
    assert_int_equal(sizes.vision_width, 64);
    assert_ok(cf_xclip_new(&m, &o.model));
    assert_ok(cf_xclip_load(&counts, m, w, false));
    cf_xclip_free(m);
    cf_weights_close(w);
    cf_free(path);
    path = test_path(folder, "inputs.h5");
    assert_true(cf_file_exists(path));
    cf_free(path);
}

static void the_loader_is_fed(void **state)
{
    (void)state;
    double rate = 0;
    assert_ok(cf_bench_loader(&rate, folder, 2, 32, 1));
    assert_true(rate > 0);
    assert_fails(cf_bench_loader(&rate, "/nonexistent/folder", 2, 32, 1), CF_EIO,
                 "/nonexistent/folder");
}

static void median_of_times(void **state)
{
    (void)state;
    double odd[] = { 3, 1, 2 }, even[] = { 4, 1, 3, 2 };
    assert_near(cf_bench_summary(odd, 3).median, 2, 0);
    assert_near(cf_bench_summary(even, 4).median, 3, 0);
    assert_near(cf_bench_summary(even, 4).max, 4, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(counts_what_the_model_costs), TEST(the_split_adds_up),
                                        TEST(trace_and_dump_can_be_read), TEST(the_loader_is_fed),
                                        TEST(median_of_times) };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
