/* The random draws of a run's micro-batches, for bench/peer/recipe.py: which videos, and how they
 * are mixed.
 *
 *   peer_mix CONFIG.yaml
 *
 * One JSON object a line for each micro-batch of each epoch, the left-over ones too: epoch, micro,
 * rows (videos of DATA.TRAIN_FILE, in order) and, where the batch is mixed, cutmix, lambda (of
 * mixup), box [x1, x2, y1, y2] (of cutmix), partner (places in the batch). */
#include "crossframe/train.h"

#include <inttypes.h>
#include <stdio.h>

#include "data/batch.h"

static void print_numbers(const char *name, const int64_t *v, size_t n)
{
    printf(",\"%s\":[", name);
    for (size_t i = 0; i < n; i++) printf("%s%" PRId64, i ? "," : "", v[i]);
    printf("]");
}

static void print_batch(const cf_batch *b, const cf_loader_options *o, uint32_t epoch, size_t micro,
                        int64_t *partner)
{
    cf_mix m;
    printf("{\"epoch\":%u,\"micro\":%zu", epoch, micro);
    print_numbers("rows", b->index, b->n);
    if (cf_mix_batch(&m, partner, b->n, o, epoch, micro)) {
        const int64_t box[] = { (int64_t)m.x1, (int64_t)m.x2, (int64_t)m.y1, (int64_t)m.y2 };
        printf(",\"cutmix\":%s", m.cutmix ? "true" : "false");
        if (m.cutmix)
            print_numbers("box", box, 4);
        else
            printf(",\"lambda\":%.9g", (double)m.lambda);
        print_numbers("partner", partner, b->n);
    }
    printf("}\n");
}

static cf_status run(const char *path)
{
    cf_config *c;
    cf_dataset *d = NULL;
    cf_loader *l = NULL;
    int64_t *partner = NULL;
    const cf_batch *b;
    cf_status status = CF_OK;
    CF_TRY(cf_config_load(&c, path, NULL, 0));
    CF_GO(cf_dataset_open(&d, c->data.train_file, c->data.root));
    const cf_loader_options o = cf_config_loader(c, true, cf_dataset_n_classes(d));
    CF_GO(cf_alloc(&partner, o.batch, sizeof *partner));
    CF_GO(cf_loader_new(&l, d, &o));
    for (uint32_t epoch = 0; epoch < (uint32_t)c->train.epochs; epoch++) {
        CF_GO(cf_loader_start(l, epoch, 0));
        for (size_t micro = 0;; micro++) {
            CF_GO(cf_loader_next(&b, l));
            if (!b) break;
            print_batch(b, &o, epoch, micro, partner);
        }
    }
done:
    cf_free(partner);
    cf_loader_free(l);
    cf_dataset_free(d);
    cf_config_free(c);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: peer_mix CONFIG.yaml\n");
        return 2;
    }
    if (run(argv[1]) == CF_OK) return 0;
    fprintf(stderr, "peer_mix: %s\n", cf_error());
    return 1;
}
