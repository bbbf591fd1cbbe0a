/*
 * Days and dates of the (proleptic) Gregorian calendar, and seconds since the Unix epoch. Pure arithmetic, no zones.
 */
#ifndef COMMON_TZ_CALENDAR_H
#define COMMON_TZ_CALENDAR_H

#include "common/base/base.h"

#define DAY_S 86400LL

struct civil_date {
	int64_t year;
	int month; /* 1..12 */
	int day;   /* 1..31 */
};

/* Days since 1970-01-01. A day beyond its month's last counts on into the next. */
int64_t civil_to_days(int64_t year, int month, int day);
struct civil_date civil_from_days(int64_t days);
/* 0: Sunday. */
int civil_weekday(int64_t days);
int civil_month_days(int64_t year, int month);

/* Rounds towards the past, also before the epoch. divisor > 0. */
static inline int64_t floor_div(int64_t value, int64_t divisor)
{
	return value / divisor - (value % divisor < 0);
}

#endif
