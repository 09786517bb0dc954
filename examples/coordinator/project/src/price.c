#include "stock.h"

/* Raises every price by so many percent. */
void price_raise(struct stock *stock, int percent) {
    int i;
    for (i = 0; i < stock->used; i++) {
        const struct item *item = &stock->items[i];
        item->price_cents += item->price_cents * percent / 100;
    }
}

/* Sets the price of one item; -1 if there is none. */
int price_set(struct stock *stock, int id, long price_cents) {
    const struct item *item = stock_find(stock, id);
    if (!item) {
        return -1;
    }
    item->price_cents = price_cents;
    return 0;
}

/* Rounds the price of one item to whole tens. */
void price_round(struct stock *stock, int id) {
    const struct item *item = stock_find(stock, id);
    if (item) {
        item->price_cents = (item->price_cents + 5) / 10 * 10;
    }
}
