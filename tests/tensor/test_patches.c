/* Patches: every pixel has its place, and col2im is the adjoint of im2col. */
#include "reference.h"

typedef struct {
    size_t frames, size, patch;
} setting;

static const setting settings[] = { { 1, 1, 1 },   { 2, 6, 2 },   { 3, 6, 3 },
                                    { 1, 28, 7 },  { 2, 28, 14 }, { 2, 64, 16 },
                                    { 3, 64, 32 }, { 2, 5, 5 },   { 5, 42, 14 } };
#define N_SETTINGS (sizeof settings / sizeof *settings)

static void every_pixel_has_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        setting s = settings[i];
        size_t g = s.size / s.patch, width = 3 * s.patch * s.patch,
               n = 3 * s.frames * s.size * s.size;
        size_t gap = i % 2 ? 5 : 0, pitch = g * g * width + gap; /* which nobody writes */
        cf_real *x = values(n, 0, 1), *rows = values(s.frames * pitch + 1, 7, 0);
        cf_im2col(rows, pitch, x, s.frames, s.size, s.patch);
        for (size_t at = 0; at < n; at++) {
            size_t px = at % s.size, py = at / s.size % s.size, c = at / (s.size * s.size) % 3;
            size_t f = at / (3 * s.size * s.size);
            size_t row = py / s.patch * g + px / s.patch;
            size_t column = (c * s.patch + py % s.patch) * s.patch + px % s.patch;
            assert_true(rows[f * pitch + row * width + column] == x[at]);
        }
        for (size_t f = 0; f < s.frames; f++)
            for (size_t j = 0; j < gap; j++) assert_true(rows[(f + 1) * pitch - gap + j] == 7);
        assert_true(rows[s.frames * pitch] == 7);
        cf_free(x);
        cf_free(rows);
    }
}

/* <im2col(x), r> = <x, col2im(r)>; and col2im adds to what is there. */
static void adjoint(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SETTINGS; i++) {
        setting s = settings[i];
        size_t n = 3 * s.frames * s.size * s.size;
        cf_real *x = values(n, 0, 1), *r = values(n, 0, 1), *rows = zeros(n), *back = zeros(n);
        size_t pitch = n / s.frames;
        cf_im2col(rows, pitch, x, s.frames, s.size, s.patch);
        cf_col2im_add(back, r, pitch, s.frames, s.size, s.patch);
        double left = 0, right = 0;
        for (size_t j = 0; j < n; j++) {
            left += (double)rows[j] * (double)r[j];
            right += (double)x[j] * (double)back[j];
        }
        assert_near(left, right, 1e-12 * (double)(n + 1));
        cf_real *twice = copy_of(back, n);
        cf_col2im_add(twice, r, pitch, s.frames, s.size, s.patch);
        for (size_t j = 0; j < n; j++) assert_true(twice[j] == 2 * back[j]);
        cf_free(x);
        cf_free(r);
        cf_free(rows);
        cf_free(back);
        cf_free(twice);
    }
}

TESTS(TEST(every_pixel_has_its_place), TEST(adjoint))
