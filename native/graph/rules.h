// The rules of all ops.
#pragma once

#include "graph/attention_rules.h"
#include "graph/elementwise_rules.h"
#include "graph/norm_rules.h"
#include "graph/product_rules.h"
#include "graph/loss_rules.h"
