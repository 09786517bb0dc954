#include "stock.h"
#include "limits_of_stock.h"

int stock_add(struct stock *stock, int id, const char *name, int count, long price_cents) {
    struct item *item;
    if (stock->used == STOCK_CAPACITY) {
        return -1;
    }
    item = &stock->items[stock->used++];
    item->base.id = id;
    item->base.name = name;
    item->count = count;
    item->price_cents = price_cents;
    return 0;
}

struct item *stock_find(struct stock *stock, int id) {
    int i;
    for (i = 0; i < stock->used; i++) {
        if (stock->items[i].base.id == id) {
            return &stock->items[i];
        }
    }
    return 0;
}

int stock_is_low(const struct stock *stock, int id) {
    int i;
    for (i = 0; i < stock->used; i++) {
        if (stock->items[i].base.id == id) {
            return (int)stock->items[i].count < stock->limits.lowest;
        }
    }
    return 1;
}

struct item *stock_find(struct stock *stock, int id) {
    return stock->used > id ? &stock->items[id] : 0;
}
