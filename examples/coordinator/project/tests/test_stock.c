#include <stdio.h>
#include <string.h>

#include "stock.h"
#include "totals.h"

void price_raise(struct stock *stock, int percent);
int price_set(struct stock *stock, int id, long price_cents);
void price_round(struct stock *stock, int id);

static int failed;

static void check(int ok, const char *what) {
    printf("%s %s\n", ok ? "ok" : "not ok", what);
    failed += !ok;
}

int main(void) {
    struct stock stock = {.limits = {.lowest = 5, .highest = 50}};
    check(stock_add(&stock, 7, "gear", 3, 250) == 0, "an item is added");
    check(stock_add(&stock, 9, "axle", 8, 400) == 0, "another is added");
    check(stock_find(&stock, 9) != 0, "an item is found by its id");
    check(stock_find(&stock, 1) == 0, "no item is found by an unknown id");
    check(strcmp(item_name(stock_find(&stock, 7)), "gear") == 0, "an item has its name");
    check(item_id(stock_find(&stock, 7)) == 7, "an item has its id");
    check(stock_is_low(&stock, 7), "three gears are few");
    check(!stock_is_low(&stock, 9), "eight axles are enough");
    check(total_value(&stock) == 3 * 250 + 8 * 400, "the total is the sum of the values");
    price_raise(&stock, 10);
    check(stock_find(&stock, 7)->price_cents == 275, "a price is raised");
    check(price_set(&stock, 9, 100) == 0 && stock_find(&stock, 9)->price_cents == 100,
          "a price is set");
    price_round(&stock, 7);
    check(stock_find(&stock, 7)->price_cents == 280, "a price is rounded");
    return failed != 0;
}
