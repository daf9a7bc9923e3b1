/* A YAML file as libyaml's document tree. */
#include "yaml_tree.h"

enum { MOST_BYTES = 1 << 18 };

/* The parser stopped at a tab. */
static bool is_tab(const yaml_parser_t *parser)
{
    return parser->error == YAML_SCANNER_ERROR && parser->buffer.pointer < parser->buffer.last &&
           *parser->buffer.pointer == '\t';
}

static cf_status yaml_failed(const yaml_parser_t *parser, const char *what, const char *name)
{
    if (parser->error == YAML_MEMORY_ERROR) return CF_FAIL(CF_ENOMEM, "%s: out of memory", name);
    size_t line =
        parser->error == YAML_READER_ERROR ? parser->mark.line : parser->problem_mark.line;
    return CF_FAIL(CF_EINVAL, "%s: not YAML: %s%s (%s:%zu)", what,
                   parser->problem ? parser->problem : "unreadable",
                   is_tab(parser) ? ": a tab; indent with spaces" : "", name, line + 1);
}

/* Nothing but one document may stand in the text. */
static cf_status check_end(yaml_parser_t *parser, const char *what, const char *name)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next)) return yaml_failed(parser, what, name);
    const yaml_node_t *second = yaml_document_get_root_node(&next);
    size_t line = second ? second->start_mark.line + 1 : 0;
    yaml_document_delete(&next);
    if (line == 0) return CF_OK;
    return CF_FAIL(CF_EINVAL, "%s: a second document in one file (%s:%zu)", what, name, line);
}

cf_status yaml_tree_read(yaml_document_t *out, const char *text, size_t n, const char *what,
                         const char *name)
{
    if (n > MOST_BYTES)
        return CF_FAIL(CF_EINVAL, "%s: %zu bytes are more than the %d a file may have (%s)", what,
                       n, (int)MOST_BYTES, name);
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) return CF_FAIL(CF_ENOMEM, "%s: out of memory", name);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    cf_status status = CF_OK;
    if (!yaml_parser_load(&parser, &document)) {
        status = yaml_failed(&parser, what, name);
    } else {
        if (yaml_document_get_root_node(&document)) status = check_end(&parser, what, name);
        if (status == CF_OK)
            *out = document;
        else
            yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    return status;
}
