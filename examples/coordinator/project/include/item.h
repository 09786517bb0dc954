#ifndef ITEM_H
#define ITEM_H

#include "entity.h"

struct item {
    struct entity base;
    size_t count;
    long price_cents;
};

const char *item_name(const struct item *item);
int item_id(const struct item *item);
long item_value(const struct item *item);

#endif
