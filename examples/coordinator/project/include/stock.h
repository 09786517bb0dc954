#ifndef STOCK_H
#define STOCK_H

#include "item.h"
#include "limits_of_stock.h"

enum { STOCK_CAPACITY = 16 };

struct stock {
    struct item items[STOCK_CAPACITY];
    int used;
    struct stock_limits limits;
};

int stock_add(struct stock *stock, int id, const char *name, int count, long price_cents);
struct item *stock_find(struct stock *stock, int id);
int stock_is_low(const struct stock *stock, int id);

#endif
