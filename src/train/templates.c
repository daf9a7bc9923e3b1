/* Templates: texts around a class name, for MODEL.PROMPT ensemble (paper, table 9).
 *
 * The paper's supplement (section 2.2) names its sixteen. Those below are the list that ActionCLIP
 * published (Wang, Xing, Liu 2021, arXiv:2109.08472; github.com/sallymmx/ActionCLIP,
 * utils/Text_Prompt.py), letter by letter, for scores depend on it; that the paper's are the same
 * is our inference, the paper does not say so. MODEL.PROMPT_TEMPLATES names a file with others, one
 * a line. All other values of MODEL.PROMPT have one template, the bare name. */
#include "train/run.h"

#include <string.h>

static const char *const published[] = {
    "a photo of action {}",
    "a picture of action {}",
    "Human action of {}",
    "{}, an action",
    "{} this is an action",
    "{}, a video of action",
    "Playing action of {}",
    "{}",
    "Playing a kind of action, {}",
    "Doing a kind of action, {}",
    "Look, the human is {}",
    "Can you recognize the action of {}?",
    "Video classification of {}",
    "A video of {}",
    "The man is {}",
    "The woman is {}",
};

void cf_templates_fini(cf_templates *t)
{
    for (size_t i = 0; i < t->n; i++) cf_free(t->text[i]);
    cf_free(t->text);
    *t = (cf_templates){ 0 };
}

static cf_status add(cf_templates *t, size_t *capacity, const char *text, size_t n)
{
    CF_TRY(cf_grow(&t->text, capacity, t->n + 1, sizeof *t->text));
    CF_TRY(cf_format(&t->text[t->n], "%.*s", (int)n, text));
    t->n++;
    return CF_OK;
}

static cf_status read_lines(cf_templates *t, const char *path)
{
    char *text;
    size_t n, capacity = 0, line = 0;
    cf_status status = CF_OK;
    CF_TRY_CTX(cf_file_read(&text, &n, path), "MODEL.PROMPT_TEMPLATES");
    for (const char *p = text; *p; p += *p == '\n') {
        const char *start = p;
        p += strcspn(p, "\n");
        size_t length = (size_t)(p - start);
        if (length > 0 && start[length - 1] == '\r') length--;
        line++;
        if (length == 0) continue;
        CF_GO(add(t, &capacity, start, length));
        if (strstr(t->text[t->n - 1], "{}")) continue;
        status = CF_FAIL(CF_EFORMAT,
                         "MODEL.PROMPT_TEMPLATES: %s, line %zu: there is no {} for the class name",
                         path, line);
        goto done;
    }
    if (t->n == 0) status = CF_FAIL(CF_EFORMAT, "MODEL.PROMPT_TEMPLATES: %s is empty", path);
done:
    cf_free(text);
    return status;
}

cf_status cf_templates_open(cf_templates *out, const cf_config *c)
{
    size_t n = sizeof published / sizeof *published, capacity = 0;
    const char *const *text = published, *const bare = "{}";
    cf_templates t = { 0 };
    cf_status status = CF_OK;
    bool ensemble = c->model.prompt == CF_PROMPT_ENSEMBLE;
    if (!ensemble) text = &bare, n = 1;
    if (ensemble && *c->model.prompt_templates)
        CF_GO(read_lines(&t, c->model.prompt_templates));
    else
        for (size_t i = 0; i < n; i++) CF_GO(add(&t, &capacity, text[i], strlen(text[i])));
    *out = t;
    return CF_OK;
done:
    cf_templates_fini(&t);
    return status;
}

cf_status cf_template_fill(char **out, const char *template, const char *name)
{
    const char *at = strstr(template, "{}");
    if (!at) return CF_FAIL(CF_EINVAL, "the template \"%s\" has no {} for the label", template);
    return cf_format(out, "%.*s%s%s", (int)(at - template), template, name, at + 2);
}
