/* Splitting a cleaned text into the pieces that byte pairs are formed in, and the byte alphabet.
 *
 * The pattern is CLIP's: the special texts, English clitics, runs of letters, single number
 * characters, runs of anything else that is not white space; matched from left to right,
 * case-insensitively; what matches nothing is skipped. White space is listed instead of \s, which
 * in PCRE2 holds U+180E too; U+0345 is left out because its case partner is a letter and the
 * original, too, never matches it.
 *
 * Bytes are numbered as in CLIP: the printable ones of Latin-1 first, then the others ascending,
 * which a merge file writes as U+0100 and on. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer_parts.h"

#include <pcre2.h>
#include <string.h>

#define SPACES                                                                                     \
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"  \
    "\\x{205f}\\x{3000}"
static const char pattern_text[] =
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|\\p{L}+|\\p{N}|"
    "[^" SPACES "\\x{345}\\p{L}\\p{N}]+";

struct tokenizer_pattern {
    pcre2_code *code;
};

cf_status tokenizer_pattern_new(tokenizer_pattern **out)
{
    int error = 0;
    PCRE2_SIZE at = 0;
    tokenizer_pattern *p = NULL;
    CF_TRY(cf_alloc(&p, 1, sizeof *p));
    p->code = pcre2_compile((PCRE2_SPTR)pattern_text, PCRE2_ZERO_TERMINATED,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS, &error, &at, NULL);
    if (p->code == NULL) {
        PCRE2_UCHAR message[128] = { 0 };
        pcre2_get_error_message(error, message, sizeof message);
        cf_free(p);
        return CF_FAIL(CF_EUNSUPPORTED, "tokenizer: PCRE2 refuses the pattern at %zu: %s", at,
                       (const char *)message);
    }
    *out = p;
    return CF_OK;
}

void tokenizer_pattern_free(tokenizer_pattern *p)
{
    if (p == NULL) return;
    pcre2_code_free(p->code);
    cf_free(p);
}

cf_status tokenizer_split(const tokenizer_pattern *p, const char *clean, tokenizer_visit *visit,
                          void *user)
{
    size_t n = strlen(clean), at = 0;
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(p->code, NULL);
    if (match == NULL) return CF_FAIL(CF_ENOMEM, "tokenizer: no memory to match");
    cf_status status = CF_OK;
    while (at < n) {
        /* Cleaned text is UTF-8; checking it would read all the rest for each piece. */
        int found = pcre2_match(p->code, (PCRE2_SPTR)clean, n, at, PCRE2_NO_UTF_CHECK, match, NULL);
        if (found == PCRE2_ERROR_NOMATCH) break;
        if (found < 0) {
            status = CF_FAIL(CF_EINVAL, "tokenizer: matching failed with PCRE2 error %d", found);
            goto done;
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(match);
        CF_GO(visit(user, clean + range[0], range[1] - range[0]));
        at = range[1];
    }
done:
    pcre2_match_data_free(match);
    return status;
}

static bool printable(unsigned byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

size_t tokenizer_byte_id(unsigned byte)
{
    CF_ASSERT(byte < 256);
    if (byte == 0xad) return 255;
    if (byte <= 0x20) return 188 + byte;
    if (byte <= 0x7e) return byte - 0x21;
    if (byte <= 0xa0) return 221 + byte - 0x7f;
    return byte < 0xad ? 94 + byte - 0xa1 : 106 + byte - 0xae;
}

void tokenizer_byte_text(char out[4], unsigned byte)
{
    unsigned c = printable(byte) ? byte : 0x100 + (unsigned)tokenizer_byte_id(byte) - 188;
    memset(out, 0, 4);
    if (c < 0x80) {
        out[0] = (char)c;
    } else {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
    }
}
