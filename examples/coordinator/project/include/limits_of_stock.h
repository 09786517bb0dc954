/* Included twice by stock.c: through stock.h and by itself. */
struct stock_limits {
    int lowest;
    int highest;
};
