/* Texts of the motion dataset: class texts and the captions of the stills.
 *
 * Plain lower-case English. The frozen text tower can only tell classes apart by words it has seen
 * with pictures, so every word of a class text also stands in a caption. Captions come in families;
 * the captions of a family are told apart from each other only:
 *
 *   kind    10   KIND                           "an ankle boot"
 *   place   40   KIND on the left ...           "an ankle boot on the left"
 *   look    40   SIZE BRIGHTNESS KIND           "a large bright ankle boot"
 *   motion  80   the class texts                "an ankle boot moving left"
 *
 * Within a family the kind is the slowest digit, as in the class ids. */
#include "crossframe/motion.h"

#include <stdio.h>
#include <string.h>

enum { PLACES = 4, LOOKS = 4 };

/* Article and noun; no article with a plural. The order of Fashion-MNIST's labels. */
static const char *const kinds[2][CF_MOTION_KINDS][2] = {
    { { "a ", "t-shirt" },
      { "", "trousers" },
      { "a ", "pullover" },
      { "a ", "dress" },
      { "a ", "coat" },
      { "a ", "sandal" },
      { "a ", "shirt" },
      { "a ", "sneaker" },
      { "a ", "bag" },
      { "an ", "ankle boot" } },
    { { "an ", "arrow" },
      { "a ", "crescent" },
      { "a ", "heart" },
      { "a ", "house" },
      { "a ", "key" },
      { "a ", "mug" },
      { "a ", "fish" },
      { "a ", "tree" },
      { "a ", "bolt" },
      { "a ", "flag" } },
};
static const char *const motions[CF_MOTION_MOTIONS] = {
    "moving left", "moving right", "moving up",         "moving down",
    "growing",     "shrinking",    "turning clockwise", "turning anticlockwise",
};
static const char *const places[PLACES] = { "on the left", "on the right", "at the top",
                                            "at the bottom" };
static const char *const looks[LOOKS] = { "small dark", "small bright", "large dark",
                                          "large bright" };
static const size_t family_variants[CF_MOTION_FAMILIES] = { 1, PLACES, LOOKS, CF_MOTION_MOTIONS };

void cf_motion_class_text(char out[CF_MOTION_TEXT_MAX], cf_motion_set set, size_t class_id)
{
    CF_ASSERT(class_id < CF_MOTION_CLASSES);
    const char *const *k = kinds[set][class_id / CF_MOTION_MOTIONS];
    snprintf(out, CF_MOTION_TEXT_MAX, "%s%s %s", k[0], k[1], motions[class_id % CF_MOTION_MOTIONS]);
}

size_t cf_motion_family_size(size_t family)
{
    CF_ASSERT(family < CF_MOTION_FAMILIES);
    return CF_MOTION_KINDS * family_variants[family];
}

size_t cf_motion_n_captions(void)
{
    size_t n = 0;
    for (size_t f = 0; f < CF_MOTION_FAMILIES; f++) n += cf_motion_family_size(f);
    return n;
}

size_t cf_motion_caption_text(char out[CF_MOTION_TEXT_MAX], cf_motion_set set, size_t caption)
{
    size_t family = 0;
    while (family < CF_MOTION_FAMILIES && caption >= cf_motion_family_size(family))
        caption -= cf_motion_family_size(family++);
    CF_ASSERT(family < CF_MOTION_FAMILIES);
    size_t variant = caption % family_variants[family];
    const char *const *k = kinds[set][caption / family_variants[family]];
    switch (family) {
    case CF_MOTION_FAMILY_KIND: snprintf(out, CF_MOTION_TEXT_MAX, "%s%s", k[0], k[1]); break;
    case CF_MOTION_FAMILY_PLACE:
        snprintf(out, CF_MOTION_TEXT_MAX, "%s%s %s", k[0], k[1], places[variant]);
        break;
    case CF_MOTION_FAMILY_LOOK: /* adjectives begin with consonants */
        snprintf(out, CF_MOTION_TEXT_MAX, "%s%s %s", *k[0] ? "a " : "", looks[variant], k[1]);
        break;
    default: cf_motion_class_text(out, set, caption);
    }
    return family;
}
