-- The ERP of a legal entity: the tenant's destination `erp.ENTITY`, if it has one, else `erp`. nil and
-- false: the tenant has no ERP at all, so none is owed. nil and true: only other entities have one.

local PREFIX = "erp"

local function erp(destinations, legal_entity)
  local own, common, any = PREFIX .. "." .. legal_entity, nil, false
  for _, name in ipairs(destinations) do
    if name == own then
      return own, true
    end
    if name == PREFIX then
      common = name
    end
    any = any or name == PREFIX or string.starts_with(name, PREFIX .. ".")
  end
  return common, any
end

return erp
