/* A page to draw on and a small font, for contact sheets.
 *
 * Small letters, digits and some punctuation in cells of 5 x 9: rows 0 to 6 above the base line, 7
 * and 8 below it. Each glyph is nine rows of five characters, '#' is ink. Capitals are drawn as
 * small letters, unknown characters as blanks. */
#include "page.h"

#include <string.h>

enum { CELL_WIDTH = 5, CELL_HEIGHT = 9 };

static const struct {
    char c;
    const char *ink; /* rows from the top, missing ones are blank */
} glyphs[] = {
    { 'a', "           ###     # #####   # ####" },
    { 'b', "#    #    #### #   ##   ##   ##### " },
    { 'c', "           ### #    #    #     ### " },
    { 'd', "    #    # #####   ##   ##   # ####" },
    { 'e', "           ### #   #######     ### " },
    { 'f', "  ##  #   ####  #    #    #    #   " },
    { 'g', "           #####   ##   ##   # ####    # ### " },
    { 'h', "#    #    #### #   ##   ##   ##   #" },
    { 'i', "  #        ##    #    #    #   ### " },
    { 'j', "   #        ##    #    #    #    # #  #  ##  " },
    { 'k', "#    #    #  # # #  ##   # #  #  # " },
    { 'l', " ##    #    #    #    #    #   ### " },
    { 'm', "          ## # # # ## # ## # ## # #" },
    { 'n', "          #### #   ##   ##   ##   #" },
    { 'o', "           ### #   ##   ##   # ### " },
    { 'p', "          #### #   ##   ##   ##### #    #    " },
    { 'q', "           #####   ##   ##   # ####    #    #" },
    { 'r', "          # ## ##   #    #    #    " },
    { 's', "           #####     ###     ##### " },
    { 't', " #    #   ####  #    #    #     ## " },
    { 'u', "          #   ##   ##   ##   # ####" },
    { 'v', "          #   ##   ##   # # #   #  " },
    { 'w', "          # # ## # ## # ## # # # # " },
    { 'x', "          #   # # #   #   # # #   #" },
    { 'y', "          #   ##   ##   ##   # ####    # ### " },
    { 'z', "          #####   #   #   #   #####" },
    { '0', " ### #   ##  ### # ###  ##   # ### " },
    { '1', "  #   ##    #    #    #    #   ### " },
    { '2', " ### #   #    #  ##  #   #    #####" },
    { '3', "#####   #   #     #     ##   # ### " },
    { '4', "   #   ##  # # #  # #####   #    # " },
    { '5', "######    ####     #    ##   # ### " },
    { '6', "  ##  #   #    #### #   ##   # ### " },
    { '7', "#####    #   #   #   #    #    #   " },
    { '8', " ### #   ##   # ### #   ##   # ### " },
    { '9', " ### #   ##   # ####    #   #  ##  " },
    { '-', "               #####" },
    { '_', "                                   #####" },
    { '.', "                         ##   ##   " },
    { ',', "                         ##   ##    #   #    " },
    { ':', "      ##   ##             ##   ##  " },
    { '%', "##  ###  #   #   #   #   #  ###  ##" },
    { '/', "    #    #   #   #   #   #    #    " },
    { '(', "   #   #   #    #    #     #     # " },
    { ')', " #     #     #    #    #   #   #   " },
    { '=', "          #####     #####" },
    { '+', "       #    #  #####  #    #  " },
    { '\'', "  #    #  " },
    { '#', "      # # #####  # # #####  # # " },
    { '!', "  #    #    #    #    #         #  " },
    { '&', " ##  #  # # #   #   # # ##  #  ## #" },
    { '*', "       #  # # # ###  # # #  #  " },
    { '?', " ### #   #    #   #   #         #  " },
};

static const char *ink_of(char c)
{
    if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
    for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++)
        if (glyphs[i].c == c) return glyphs[i].ink;
    return "";
}

cf_status cf_page_init(cf_page *page, size_t width, size_t height, uint32_t colour)
{
    size_t n;
    CF_TRY(cf_mul_size(&n, width, height));
    CF_TRY(cf_alloc(&page->pixels, n, 3));
    for (size_t i = 0; i < 3 * n; i++) page->pixels[i] = (uint8_t)(colour >> (16 - i % 3 * 8));
    page->width = width;
    page->height = height;
    return CF_OK;
}

void cf_page_fini(cf_page *page)
{
    cf_free(page->pixels);
    *page = (cf_page){ 0 };
}

static void put_block(cf_page *page, size_t x, size_t y, size_t edge, const uint8_t rgb[3])
{
    for (size_t i = y; i < y + edge && i < page->height; i++)
        for (size_t j = x; j < x + edge && j < page->width; j++)
            memcpy(page->pixels + 3 * (i * page->width + j), rgb, 3);
}

void cf_page_text(cf_page *page, size_t x, size_t y, size_t scale, uint32_t colour,
                  const char *text)
{
    const uint8_t rgb[3] = { (uint8_t)(colour >> 16), (uint8_t)(colour >> 8), (uint8_t)colour };
    for (; *text != 0; text++, x += scale * CF_GLYPH_WIDTH) {
        const char *ink = ink_of(*text);
        for (size_t k = 0; ink[k] != 0; k++)
            if (ink[k] == '#')
                put_block(page, x + k % CELL_WIDTH * scale, y + k / CELL_WIDTH * scale, scale, rgb);
    }
}

void cf_page_picture(cf_page *page, size_t x, size_t y, size_t zoom, const cf_picture *picture)
{
    for (size_t i = 0; i < picture->height; i++)
        for (size_t j = 0; j < picture->width; j++)
            put_block(page, x + j * zoom, y + i * zoom, zoom,
                      picture->pixels + 3 * (i * picture->width + j));
}
