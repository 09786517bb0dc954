#include <stdio.h>

#include "report.h"
#include "stock.h"
#include "totals.h"

void report_print(const struct stock *stock) {
    int i;
    for (i = 0; i < stock->used; i++) {
        printf("%d %s %ld\n", stock->items[i].id, stock->items[i].name,
               item_value(&stock->items[i]));
    }
    printf("total %ld\n", total_value(stock));
}
