#include "report.h"
#include "stock.h"

int main(void) {
    struct stock stock = {.limits = {.lowest = 2, .highest = 100}};
    stock_add(&stock, 1, "bolt", 40, 12);
    stock_add(&stock, 2, "nut", 55, 7);
    report_print(&stock);
    return 0;
}
