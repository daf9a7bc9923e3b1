/* A small font and a page to draw on, for the contact sheet.
 *
 * Small letters, digits and some punctuation in cells of 5 x 9: rows 0 to 6 above the base line, 7
 * and 8 below it. Each glyph is nine rows of five characters, '#' is ink. Capitals are drawn as
 * small letters, unknown characters as blanks. */
#include "motion_parts.h"

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
    { '?', " ### #   #    #   #   #         #  " },
};

static const char *ink_of(char c)
{
    if (c >= 'A' && c <= 'Z') c = (char)(c + 32);
    for (size_t i = 0; i < sizeof glyphs / sizeof *glyphs; i++)
        if (glyphs[i].c == c) return glyphs[i].ink;
    return "";
}

static void put_block(motion_page *page, size_t x, size_t y, size_t edge, const uint8_t rgb[3])
{
    for (size_t i = y; i < y + edge && i < page->height; i++)
        for (size_t j = x; j < x + edge && j < page->width; j++)
            memcpy(page->pixels + 3 * (i * page->width + j), rgb, 3);
}

void motion_page_text(motion_page *page, size_t x, size_t y, size_t scale, uint32_t colour,
                      const char *text)
{
    const uint8_t rgb[3] = { (uint8_t)(colour >> 16), (uint8_t)(colour >> 8), (uint8_t)colour };
    for (; *text != 0; text++, x += scale * MOTION_GLYPH_WIDTH) {
        const char *ink = ink_of(*text);
        for (size_t k = 0; ink[k] != 0; k++)
            if (ink[k] == '#')
                put_block(page, x + k % CELL_WIDTH * scale, y + k / CELL_WIDTH * scale, scale, rgb);
    }
}

void motion_page_picture(motion_page *page, size_t x, size_t y, size_t zoom,
                         const cf_picture *picture)
{
    for (size_t i = 0; i < picture->height; i++)
        for (size_t j = 0; j < picture->width; j++)
            put_block(page, x + j * zoom, y + i * zoom, zoom,
                      picture->pixels + 3 * (i * picture->width + j));
}
