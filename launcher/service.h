/* Starts the service when it is down. */
#ifndef SERVICE_H
#define SERVICE_H

/* Returns at once; whatever goes wrong is nobody's business but the service's. */
void start_service_if_down(const char *state);

#endif
