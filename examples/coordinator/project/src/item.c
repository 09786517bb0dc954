#include "item.h"

const char *item_name(const struct item *item) {
    return item->name;
}

int item_id(const struct item *item) {
    return item->id;
}

long item_value(const struct item *item) {
    return (long)item->count * item->price_cents;
}
