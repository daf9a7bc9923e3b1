/* The contact sheet of the motion report: test videos with their label and what each run made of
 * them.
 *
 * One row a video, its frames from left to right, then the true class and every run's answer, green
 * if right, orange if only the kind or the motion is, red otherwise. Videos come in pairs, a
 * trajectory and its reverse, so that one sees the same frames in both orders; the pairs go round
 * kinds and axes. */
#include "motion_parts.h"
#include "page.h"
#include "tokenizer_parts.h"

#include <stdio.h>
#include <string.h>

enum { ZOOM = 2, GAP = 8, TEXT_SCALE = 2, NAME_COLUMNS = 18, TEXT_COLUMNS = 52, PAIR_STEP = 11 };
static const uint32_t ink = 0x202428, faint = 0x707880, right = 0x107c3c, half = 0xb06000,
                      wrong = 0xc02828;

typedef struct {
    const cf_pack *pack;
    const cf_motion_run *runs;
    const motion_scores *scores;
    const byte_map *rows; /* [n_runs]: name -> row of the scores */
    size_t n_runs, frames, edge, line_height, row_height;
    cf_page page;
    cf_picture picture;
    cf_bytes scratch;
} sheet;

static uint32_t colour_of(size_t guess, size_t label)
{
    if (guess == label) return right;
    bool kind = guess / CF_MOTION_MOTIONS == label / CF_MOTION_MOTIONS;
    bool motion = guess % CF_MOTION_MOTIONS == label % CF_MOTION_MOTIONS;
    return kind || motion ? half : wrong;
}

static const char *class_text(const cf_pack *p, size_t class_id)
{
    return class_id < cf_pack_n_classes(p) ? cf_pack_class_name(p, class_id) : "?";
}

static void put_answer(sheet *s, size_t x, size_t y, const char *who, uint32_t colour,
                       const char *what)
{
    size_t step = CF_GLYPH_WIDTH * TEXT_SCALE;
    cf_page_text(&s->page, x, y, TEXT_SCALE, faint, who);
    cf_page_text(&s->page, x + NAME_COLUMNS * step, y, TEXT_SCALE, colour, what);
}

static cf_status draw_row(sheet *s, size_t y, size_t row)
{
    cf_pack_video v = cf_pack_video_get(s->pack, row);
    for (int64_t t = 0; t < v.n_frames && (size_t)t < s->frames; t++) {
        CF_TRY(cf_pack_read_frame(&s->picture, &s->scratch, s->pack, row, t));
        cf_page_picture(&s->page, GAP + (size_t)t * (s->edge * ZOOM + 2), y, ZOOM, &s->picture);
    }
    size_t x = 2 * GAP + s->frames * (s->edge * ZOOM + 2);
    if (v.label < 0) return CF_OK;
    put_answer(s, x, y, "true", ink, class_text(s->pack, (size_t)v.label));
    for (size_t i = 0; i < s->n_runs; i++) {
        if (s->scores[i].n == 0) continue;
        y += s->line_height;
        const int64_t *at = byte_map_get(&s->rows[i], v.name, strlen(v.name));
        if (at == NULL)
            return CF_FAIL(CF_ENOTFOUND, "%s: no scores of the test video %s",
                           s->runs[i].scores_path, v.name);
        size_t guess = motion_scores_best(&s->scores[i], (size_t)*at);
        char who[NAME_COLUMNS];
        snprintf(who, sizeof who, "%s", s->runs[i].name);
        put_answer(s, x, y, who, colour_of(guess, (size_t)v.label), class_text(s->pack, guess));
    }
    return CF_OK;
}

static cf_status draw_sheet(sheet *s, const char *path, size_t rows)
{
    size_t n = cf_pack_n_videos(s->pack), pairs = n / 2, lines = 1;
    if (n < 2) return CF_FAIL(CF_EINVAL, "%s: no pair of videos", cf_pack_path(s->pack));
    if (rows / 2 > pairs) rows = 2 * pairs;
    cf_pack_video first = cf_pack_video_get(s->pack, 0);
    s->edge = (size_t)first.width;
    s->frames = (size_t)first.n_frames;
    for (size_t i = 0; i < s->n_runs; i++) lines += s->scores[i].n > 0;
    s->line_height = (CF_GLYPH_HEIGHT + 3) * TEXT_SCALE;
    s->row_height = (size_t)first.height * ZOOM;
    if (s->row_height < lines * s->line_height) s->row_height = lines * s->line_height;
    s->row_height += GAP;
    size_t width =
        3 * GAP + s->frames * (s->edge * ZOOM + 2) + TEXT_COLUMNS * TEXT_SCALE * CF_GLYPH_WIDTH;
    CF_TRY(cf_page_init(&s->page, width, rows * s->row_height + GAP, 0xf6f6f6));
    for (size_t r = 0; r < rows; r++) {
        size_t pair = r / 2 * PAIR_STEP % pairs;
        CF_TRY(draw_row(s, GAP + r * s->row_height, 2 * pair + r % 2));
    }
    return cf_png_write(path, s->page.pixels, s->page.height, s->page.width);
}

cf_status motion_sheet_write(const char *path, const char *test_pack, const cf_motion_run *runs,
                             const motion_scores *scores, size_t n_runs, size_t rows)
{
    cf_pack *pack = NULL;
    byte_map *map = NULL;
    sheet s = { .runs = runs, .scores = scores, .n_runs = n_runs };
    cf_status status = CF_OK;
    CF_GO(cf_alloc_zero(&map, n_runs + 1, sizeof *map));
    for (size_t i = 0; i < n_runs; i++)
        for (size_t k = 0; k < scores[i].n; k++)
            CF_GO(byte_map_put(&map[i], scores[i].name[k], strlen(scores[i].name[k]), (int64_t)k));
    CF_GO(cf_pack_open(&pack, test_pack));
    s.pack = pack;
    s.rows = map;
    CF_GO(draw_sheet(&s, path, rows));
done:
    for (size_t i = 0; map != NULL && i < n_runs; i++) byte_map_fini(&map[i]);
    cf_free(map);
    cf_page_fini(&s.page);
    cf_picture_fini(&s.picture);
    cf_bytes_fini(&s.scratch);
    cf_pack_free(pack);
    return status;
}
