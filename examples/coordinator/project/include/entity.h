#ifndef ENTITY_H
#define ENTITY_H

/* What every thing in the shop has; embedded as the first member `base`. */
struct entity {
    int id;
    const char *name;
};

#endif
