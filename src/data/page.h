/* A picture to draw on: text in a small font, other pictures. Colours are 0xRRGGBB; what lies
 * outside the page is cut off. */
#ifndef CROSSFRAME_DATA_PAGE_H
#define CROSSFRAME_DATA_PAGE_H

#include "crossframe/data.h"

typedef struct {
    uint8_t *pixels; /* height x width x 3 */
    size_t height, width;
} cf_page;
cf_status cf_page_init(cf_page *page, size_t width, size_t height, uint32_t colour);
void cf_page_fini(cf_page *page);

enum { CF_GLYPH_WIDTH = 6, CF_GLYPH_HEIGHT = 9 }; /* with the gaps, times the scale */
/* Text in a 5 x 7 font; capitals are drawn as small letters, what the font lacks as blanks. */
void cf_page_text(cf_page *page, size_t x, size_t y, size_t scale, uint32_t colour,
                  const char *text);
/* An RGB picture, each pixel as zoom x zoom pixels. */
void cf_page_picture(cf_page *page, size_t x, size_t y, size_t zoom, const cf_picture *picture);

#endif
